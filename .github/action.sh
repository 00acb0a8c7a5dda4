# What the steps of action.yml share; they source it.

homespec=$RUNNER_TEMP/homespec/bin/homespec

# The input PATHS, one path in each line. Nothing is expanded, and a path is never an option.
paths=()
while IFS= read -r path; do
  [ -z "$path" ] || paths+=("$path")
done <<< "$PATHS"

# annotate LEVEL TITLE WORDS...: a message on the page of the run.
annotate() {
  local level=$1 title=$2
  shift 2
  local text=$*
  text=${text//%/%25}
  text=${text//$'\r'/%0D}
  printf '::%s title=homespec %s::%s\n' "$level" "$title" "${text//$'\n'/%0A}"
}

# Print stdin as text. Names of files come from pull requests, and a runner takes lines such as
# ::add-mask::x for commands, unless they are stopped by a word that no one can guess.
plainly() {
  local word
  word=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
  printf '::stop-commands::%s\n' "$word"
  cat
  printf '::%s::\n' "$word"
}
