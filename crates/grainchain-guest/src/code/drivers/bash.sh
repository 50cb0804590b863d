eval "${BASH_EXECUTION_STRING#*$'\n'}"; eval "$__gc_loop"; exit 0
# The bash side of a code context, for bash 4.4 and later. README.md beside this file describes the wire.
#
# The first line defines all that follows by `eval` and then runs the loop, by `eval` as well: so a cell runs outside of any
# function (`declare` is global) and bash counts its lines from 1. A cell sees the channel closed, and so do its children;
# the shell's own copies lie above 10 and are closed on exec.
#
# Arguments: request fd, response fd, largest frame; and, when a shell that had to end hands over to its successor on
# the same process id: nonce, count, name, value, message of the failure.

# A cell's own `break` and `continue` meet the inner loop. Those of more levels reach the outer one: then it is found below or
# by `__gc_over` that the cell is not done, and the loop begins anew. After `set -n` nothing is carried out any more and everything keeps the status
# 0, with which `until` ends and the shell with it, where `while` would turn for ever.
__gc_loop='until __gc_over; do :; for __gc_once in 1; do eval "$__gc_code" 7<&- 8>&-; done; { __gc_done "$?"; } 2>/dev/null; done; { ((!__gc_busy)) || __gc_done 0; } 2>/dev/null; ((__gc_ended)) || eval "$__gc_loop"'

# What follows is top level, too: a handover restores variables with `declare`.
if (($# > 3)); then
  { LC_ALL=C IFS= builtin read -r -N 1000000000 -u 6 __gc_state; } 2>/dev/null
  exec 6<&-
  eval "$__gc_state" 2>/dev/null
  builtin unset -v __gc_state
else
  exec 7<&"$1" 8>&"$2"
  (($1 == 7 || $1 == 8)) || eval "exec $1<&-"
  (($2 == 7 || $2 == 8)) || eval "exec $2>&-"
fi
__gc_cap=$3 __gc_busy=0 __gc_ended=0 __gc_code='' __gc_status=0

# Sends a frame: kind, then names and values in turns.
__gc_send() {
  local LC_ALL=C IFS=' ' payload='' kind=$1
  builtin shift
  while (($#)); do
    builtin printf -v payload '%s%s %d\n%s' "$payload" "$1" "${#2}" "$2"
    builtin shift 2
  done
  builtin printf '%s %s %d\n%s' "$kind" "$__gc_nonce" "${#payload}" "$payload" >&8
}

# Remembers the options of the user and sets the driver's.
__gc_take_options() {
  __gc_flags=$- __gc_options=$SHELLOPTS
  builtin set +eufvx
  builtin set +o pipefail
  __gc_restore=''
  [[ $__gc_flags != *u* ]] || __gc_restore+='set -u; '
  [[ $__gc_flags != *f* ]] || __gc_restore+='set -f; '
  [[ :$__gc_options: != *:pipefail:* ]] || __gc_restore+='set -o pipefail; '
  [[ $__gc_flags != *e* ]] || __gc_restore+='set -e; '
  [[ $__gc_flags != *v* ]] || __gc_restore+='set -v; '
  [[ $__gc_flags != *x* ]] || __gc_restore+='set -x; '
}

# Tells the cell that ended by `break` or `continue`, and waits for a request: 0 if none will come, 1 if there is one.
__gc_over() {
  { ((!__gc_busy)) || __gc_done 0; } 2>/dev/null
  __gc_next || {
    __gc_ended=1
    builtin return 0
  }
  builtin return 1
}

# Waits for a request. The options of the user come back on the first line of the cell, which keeps its line numbers;
# without options to restore, `$?` is that of the last cell, as at a prompt.
__gc_next() {
  local word nonce length IFS=' ' status
  until builtin read -r -u 7 word nonce length; do
    status=$?
    ((status > 128)) || builtin return 1
  done
  # -N counts characters, which are bytes in this locale.
  { LC_ALL=C IFS= builtin read -r -N "$length" -u 7 __gc_code || ((length == 0)) || builtin return 1; } 2>/dev/null
  __gc_nonce=$nonce
  ((++__gc_count))
  if [[ $__gc_restore ]]; then
    __gc_code=$__gc_restore$__gc_code
  elif ((__gc_status)); then
    __gc_code="__gc_return $__gc_status; $__gc_code"
  fi
  # Where bash will put the channel while the cell runs: the two lowest free descriptors from 10.
  exec {__gc_in}<&7 {__gc_out}>&7
  exec {__gc_in}<&- {__gc_out}>&-
  trap '__gc_interrupted' INT
  __gc_busy=1
}

__gc_return() { builtin return "$1"; }

__gc_done() {
  __gc_busy=0
  __gc_status=$1
  __gc_take_options
  # Also a signal that comes between cells is for the driver.
  if [[ $__gc_code == *trap* ]]; then
    __gc_take_exit_trap
    trap '__gc_interrupted' INT
  fi
  ((__gc_status == 0)) ||
    __gc_send error name ExitStatus value "$__gc_status" traceback "the last command ended with status $__gc_status"
  __gc_send done execution_count "$__gc_count"
}

# A trap that the user set on EXIT runs when the shell really ends, and after an `exit` in a cell.
__gc_take_exit_trap() {
  local set_by_user
  set_by_user=$(trap -p EXIT)
  [[ $set_by_user != *__gc_exit* ]] || builtin return 0
  __gc_user_exit=$set_by_user
  trap '__gc_exit "$?"' EXIT
}

__gc_interrupted() {
  if ((__gc_busy)); then __gc_hand_over Interrupted 130 'the cell was interrupted'; fi
}

__gc_exit() {
  local body
  if [[ $__gc_user_exit ]]; then
    body=${__gc_user_exit#trap -- }
    __gc_user_exit=''
    eval "eval ${body% EXIT}"
  fi
  ((__gc_busy)) || builtin return 0
  __gc_hand_over Exit "$1" "the shell ended with status $1; its variables and functions are kept, its jobs are not"
}

# What a successor needs: shell options first, since functions may need them to be parsed, and errexit and its like last.
__gc_state() {
  shopt -p
  declare -f
  declare -p
  alias -p
  trap -p
  set +o
}

# A shell that ends cannot be held: another one takes its place, with the same process id and the same state.
__gc_hand_over() {
  { __gc_take_options; } 2>/dev/null
  __gc_busy=0
  trap - EXIT
  # A signal that is ignored now would be ignored by the successor for ever.
  trap : INT
  # Inside of the cell's `eval` (bash leaves it before some ends and not before others) the channel is at its copies.
  # A duplicate of what is closed on exec is closed as well, unless its number is below 3: so by way of stdin.
  local stdin probe
  exec {probe}</dev/null {probe}<&-
  if ((probe != __gc_in)); then
    exec {stdin}<&0 0<&"$__gc_in" 7<&0 0<&"$__gc_out" 8>&0 0<&"$stdin" {stdin}<&-
  fi
  exec 6< <(__gc_state) # by itself, or the successor would inherit bash's own descriptor of the pipe as well
  builtin set -- --norc --noprofile -c "$BASH_EXECUTION_STRING" bash 7 8 "$__gc_cap" "$__gc_nonce" "$__gc_count" "$@"
  # A shell complains of a locale that is missing; the state that it takes over restores the variable without a word.
  if [[ ${LC_ALL+set} ]]; then LC_ALL=C exec "$BASH" "$@"; fi
  exec "$BASH" "$@"
}

__gc_user_exit=${__gc_user_exit-} __gc_count=${5-0} __gc_nonce=${4-0000000000000000}
(($# > 3)) || __gc_take_options # a successor got them with the variables
trap '__gc_exit "$?"' EXIT
trap '__gc_interrupted' INT
{
  if (($# > 3)); then
    __gc_send error name "$6" value "$7" traceback "$8"
    __gc_send done execution_count "$__gc_count"
    __gc_status=$7
  else
    __gc_send ready protocol 1 version "${BASH_VERSION%%(*}"
  fi
} 2>/dev/null # bash complains of a missing locale whenever it goes back to it
builtin shift $#
