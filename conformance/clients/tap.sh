# What judges in bash share. Every function of theirs that is called step_* is one step, in the file's order; it fails
# with its first command that does. Told in the Test Anything Protocol (testanything.org).
set -uE
K=(timeout 120 kubectl)

# Kubectl, which may not hang.
k() { "${K[@]}" "$@"; }

# Is the first word equal to the second?
same() { [[ "$1" == "$2" ]] || { printf 'got:  %s\nwant: %s\n' "$1" "$2"; return 1; }; }

# Is the first part of the second? Patterns of bash are meant literally.
within() { [[ "$2" == *"$1"* ]] || { printf 'no %q in:\n%s\n' "$1" "$2"; return 1; }; }

# It must fail, and say this.
refused() { # TEXT COMMAND...
  local text=$1 said
  shift
  if said=$("$@" 2>&1); then printf 'it did not fail: %s\n' "$*"; return 1; fi
  within "$text" "$said"
}

# Asks again until it succeeds: for what has no watch. The last failure is shown.
until_true() { # SECONDS COMMAND...
  local end=$((SECONDS + $1)) said
  shift
  until said=$("$@" 2>&1); do
    ((SECONDS < end)) || { printf 'still failing: %s\n%s\n' "$*" "$said"; return 1; }
    sleep 0.2
  done
}

steps() { # FILE
  local number=0 name said
  for name in $(sed -n 's/^step_\(\w*\)() .*/\1/p' "$1"); do
    number=$((number + 1))
    # No condition: in one bash would not stop at the first failure.
    said=$(set -eE; trap 'echo "failed: $BASH_COMMAND" >&2' ERR; "step_$name" 2>&1 </dev/null)
    case $? in
    0) echo "ok $number - ${name//_/ }" ;;
    *) echo "not ok $number - ${name//_/ }"; sed 's/^/# /' <<<"$said" ;;
    esac
  done
  echo "1..$number"
}
