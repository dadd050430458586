# Ends what a sandbox started, when the sandbox's process is gone. It holds the reading end of a pipe whose writing end
# only that process has: however that ends, kill -9 included, this reads end of file.
#
# Lines: `+ ID` a process group to kill, `- ID` one that ended, `folder PATH` a folder to remove.

trap '' HUP INT QUIT TERM
newline='
'
groups=' '
folders=
while read -r verb value; do
	case $verb in
	+) groups="$groups$value " ;;
	-) groups="${groups%% "$value" *} ${groups#* "$value" }" ;;
	folder) folders="$folders$value$newline" ;;
	esac
done
for group in $groups; do
	kill -s KILL -- "-$group" 2>/dev/null
done
printf '%s' "$folders" | while read -r folder; do
	rm -rf -- "$folder"
done
