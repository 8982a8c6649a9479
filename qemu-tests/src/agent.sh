# Runs shell commands for the test on the other end of a line. Asked
#   ID SECONDS BASE64(command)
# it answers
#   done ID CODE BASE64(stdout) BASE64(stderr) .
# It reads descriptor 3 and writes descriptor 4, and keeps its files in $d.
mkdir -p "$d"
echo ready >&4
while read -r id limit command <&3; do
  printf %s "$command" | base64 -d >"$d/command"
  timeout -k 2 "$limit" /bin/sh "$d/command" >"$d/out" 2>"$d/err" </dev/null 3<&- 4>&-
  code=$?
  { printf 'done %s %s ' "$id" "$code"; base64 -w0 "$d/out"; printf ' '; base64 -w0 "$d/err"; echo ' .'; } >&4
done
