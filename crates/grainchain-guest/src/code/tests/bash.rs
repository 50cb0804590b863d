use std::os::fd::AsRawFd;

use super::*;

fn bash() -> Context {
    Context::start(Language::Bash)
}

fn output(context: &mut Context, code: &str) -> String {
    let cell = context.run(code);
    assert!(cell.error.is_none(), "{cell:?} {}", context.err());
    context.out()
}

#[test]
fn variables_functions_and_the_folder_live_on() {
    let mut context = bash();
    context.run("x=5; declare -A m=([a]=b); f() { echo \"f $1\"; }; cd /usr");
    assert_eq!(output(&mut context, "f $x; echo ${m[a]}; pwd"), "f 5\nb\n/usr\n");
}

#[test]
fn a_status_that_is_not_zero_is_an_error_and_seen_by_the_next_cell() {
    let mut context = bash();
    assert_eq!(context.run("(exit 3)").error(), ("ExitStatus", "3"));
    assert_eq!(output(&mut context, "echo $?"), "3\n");
}

#[test]
fn code_needs_no_quoting() {
    let mut context = bash();
    assert_eq!(
        output(&mut context, "cat <<'Q'\n'\"$x\\ é\nQ\nif true; then\n  echo ok\nfi"),
        "'\"$x\\ é\nok\n"
    );
}

#[test]
fn bash_reports_syntax_errors_with_the_line_of_the_cell() {
    let mut context = bash();
    assert_eq!(context.run("if then").error(), ("ExitStatus", "2"));
    assert!(context.err().contains("syntax error near unexpected token"), "{}", context.err());
}

#[test]
fn every_end_of_the_shell_is_reported_and_keeps_its_state() {
    let mut context = bash();
    context.run("x=5; a=(1 2); f() { echo f; }; readonly r=1");
    for end in ["exit 3", "g() { exit 3; }; g", "set -e; (exit 3)"] {
        assert_eq!(context.run(end).error(), ("Exit", "3"), "{end}");
        assert_eq!(
            output(&mut context, "set +e; echo $x ${a[1]} $r; f; ls /proc/$$/fd | grep -c '^6' || :"),
            "5 2 1\nf\n0\n"
        );
    }
}

#[test]
fn sigint_ends_loops_and_commands() {
    let mut context = bash();
    context.run("x=5");
    for rest in ["while :; do :; done", "sleep 1000; echo no", "f() { sleep 1000; }; f", "sleep 1000 | cat"] {
        assert_eq!(context.interrupt(&format!("echo waiting; {rest}")).error().0, "Interrupted", "{rest}");
    }
    assert_eq!(output(&mut context, "echo $x"), "5\n");
}

#[test]
fn options_of_the_user_hold_for_cells_and_not_for_the_driver() {
    let mut context = bash();
    context.run("set -u; set -o pipefail; set -f; IFS=,; LC_ALL=C; shopt -s nullglob failglob");
    assert_eq!(output(&mut context, "echo \"$-$IFS\" | tr -dc 'uf,'"), "fu,");
    context.run("set -x; :");
    context.run("set +x");
    assert!(!context.err().contains("__gc"), "{}", context.err());
}

#[test]
fn children_do_not_inherit_the_channel() {
    let mut context = bash();
    let pipe = context.requests.as_ref().expect("an open pipe").as_raw_fd();
    let pipe = fs::read_link(format!("/proc/self/fd/{pipe}")).expect("a name such as pipe:[1]");
    let pipe = pipe.to_str().expect("ASCII");
    assert!(output(&mut context, "readlink /proc/$$/fd/*; :").contains(pipe), "the shell itself has it");
    assert!(!output(&mut context, "sh -c 'readlink /proc/self/fd/*'; :").contains(pipe), "{}", context.out());
}

#[test]
fn a_program_that_replaces_the_shell_is_the_end_and_no_hang() {
    let mut context = bash();
    context.send("exec true");
    assert!(context.answer().is_none());
}

#[test]
fn break_and_continue_outside_of_a_loop_end_the_cell_alone() {
    let mut context = bash();
    context.run("x=5; sleep 1000 &");
    for end in
        ["continue", "break", "for i in 1 2; do continue 5; done", "while :; do break 3; done", "break 9"]
    {
        assert_eq!(output(&mut context, &format!("echo before; {end}; echo no")), "before\n", "{end}");
        assert_eq!(output(&mut context, "echo $? $x; jobs -p | wc -l"), "0 5\n1\n", "{end}");
    }
    context.run("set -x; break 2");
    assert!(!context.err().contains("__gc"), "{}", context.err());
}

#[test]
fn a_shell_that_is_told_to_carry_out_nothing_ends() {
    for end in ["set -n", "x=1; set -o noexec; (exit 3)"] {
        let mut context = bash();
        context.send(end);
        assert!(context.answer().is_none(), "{end}");
    }
}

#[test]
fn a_locale_that_is_missing_is_no_matter_of_the_cells() {
    for variable in ["LANG", "LC_ALL", "LC_CTYPE"] {
        let folder = TempDir::new().expect("a folder");
        let mut context = Context::start_with(Language::Bash, folder, Some((variable, "xx_YY.UTF-8")));
        assert_eq!(output(&mut context, &format!("echo ${variable}")), "xx_YY.UTF-8\n");
        for cell in ["printf '%s' é", "(exit 3)", "exit 3", &format!("[ ${variable} = xx_YY.UTF-8 ]")] {
            context.run(cell);
            assert_eq!(context.err(), "", "{variable} {cell}");
        }
    }
}

#[test]
fn no_trap_of_a_cell_keeps_a_later_one_from_being_interrupted() {
    for trap in ["trap '' INT", "trap 'exit 4' INT", "trap '' INT; exit 3"] {
        let mut context = bash();
        context.run(trap);
        context.signal();
        assert_eq!(output(&mut context, "echo on"), "on\n", "{trap}");
        let cell = context.interrupt("echo waiting; while :; do :; done");
        assert_eq!(cell.error().0, "Interrupted", "{trap}");
    }
}
