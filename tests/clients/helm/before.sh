helm install hello ./chart --wait
helm list
