helm upgrade hello ./chart --set text=again --wait
helm history hello
helm uninstall hello --wait
