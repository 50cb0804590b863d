//! A provider with one seeded fault, which proves that the suite fails when it should.
//!
//! Each [`Fault`] is a mistake that a real provider has made, and names the case that must catch it.

mod code;
mod exec;
mod files;
mod processes;
mod provider;
mod snapshots;

use std::sync::Arc;

use grainchain_core::Provider;
use grainchain_core::layer::Layer;

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident => $case:literal;)+) => {
        /// One mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Fault {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Fault {
            /// Every mistake.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name of the case that catches it.
            pub const fn caught_by(self) -> &'static str {
                match self { $(Self::$name => $case),+ }
            }
        }
    };
}

faults! {
    /// What a command writes to stderr is lost.
    LosesStderr => "output::stderr_alone_leaves_stdout_empty";
    /// stderr arrives as stdout.
    MergesStreams => "output::stdout_and_stderr_arrive_apart";
    /// An end by a signal becomes the exit code -1.
    InventsExitCodes => "signals::an_end_by_kill_is_told_as_it_is";
    /// An exit code above 128 becomes a signal.
    TakesCodesForSignals => "signals::a_signal_is_not_the_code_a_shell_would_show";
    /// A command's timeout is not passed on.
    IgnoresTimeouts => "timeout::a_timeout_carries_the_output_so_far";
    /// At a timeout the caller is told, and everything runs on.
    LeavesTheTreeRunning => "timeout::a_timeout_kills_the_children";
    /// At a timeout the output so far is thrown away.
    DropsPartialOutput => "timeout::a_timeout_carries_the_errors_so_far";
    /// Output beyond the limit is cut off without a word.
    TruncatesSilently => "output::more_than_the_limit_keeps_head_and_tail_and_counts";
    /// One byte at the border of a chunk is lost.
    DropsAByte => "output::one_mebibyte_arrives_whole";
    /// Output goes through a string.
    TakesOutputForText => "output::every_byte_arrives_as_it_is";
    /// Variables of a command are not passed on.
    IgnoresEnvironment => "exec::a_variable_of_a_command_reaches_it_and_its_children";
    /// A command's working directory is not passed on.
    IgnoresWorkingDirectory => "exec::a_command_starts_where_it_is_asked_to";
    /// A command gets no input.
    IgnoresStdin => "stdin::the_input_arrives_and_ends";
    /// The input of a command is never closed.
    NeverClosesStdin => "stdin::an_empty_input_is_just_the_end";
    /// Arguments are joined into a line for the shell.
    JoinsArguments => "quoting::every_shell_metacharacter_arrives_in_an_argument";
    /// A command that failed is an error.
    TakesFailuresForErrors => "exec::a_nonzero_exit_is_a_result";
    /// An error is never told: the call hangs.
    HangsInsteadOfAnError => "exec::a_missing_program_is_not_found_and_named";
    /// A command whose call is dropped runs on.
    DetachesCommands => "cancel::a_cancelled_command_is_killed_with_its_tree";
    /// Commands run one after the other.
    RunsOneAtATime => "exec::sixty_four_commands_run_at_once";
    /// Output beyond the limit is cut off only when all of it is there.
    HoldsAllOutput => "output::a_hundred_mebibytes_stay_within_ten_with_flat_memory";
    /// Blanks at the ends of a file's name are lost.
    TrimsNames => "quoting::every_operation_takes_cruel_names";
    /// A file is written in place, piece by piece.
    WritesInPlace => "files::a_reader_never_sees_half_a_file";
    /// The mode of a new file is ignored.
    IgnoresModes => "files::a_new_file_has_the_mode_asked_for";
    /// `stat` always follows links.
    FollowsLinksInStat => "files::stat_looks_at_a_link_itself";
    /// Lists come in whatever order.
    ListsUnsorted => "files::a_list_is_sorted";
    /// A rename replaces even when told not to.
    AlwaysReplaces => "files::a_rename_does_not_replace_when_told_so";
    /// Removing a link removes what it points to.
    RemovesThroughLinks => "files::removing_a_link_leaves_its_target";
    /// Ranges begin one byte late.
    ShiftsRanges => "files::a_range_is_read_exactly";
    /// Absolute paths reach the files of the client's own machine.
    ReadsTheHost => "paths::no_path_reads_a_file_of_the_client";
    /// A restore leaves what is new.
    KeepsNewFiles => "snapshots::a_restore_removes_what_is_new";
    /// A restore does nothing.
    RestoresNothing => "snapshots::a_snapshot_never_changes";
    /// Only the newest snapshot is listed.
    ForgetsSnapshots => "snapshots::two_snapshots_in_a_moment_are_two";
    /// Every context is the default one.
    SharesContexts => "contexts::contexts_do_not_share_variables";
    /// An exception in code is not told.
    LosesExceptions => "code_python::an_exception_is_a_result_with_its_trace";
    /// Output of a process is held back until its end.
    HoldsOutputBack => "processes::output_arrives_while_the_process_runs";
    /// Killing a process kills its group alone.
    KillsTheGroupOnly => "processes::killing_takes_the_whole_tree";
    /// `close` says yes and does nothing.
    LeaksOnClose => "lifecycle::closing_removes_it_from_the_list";
    /// What was once seen abandoned is removed, whoever has connected since.
    RemovesWithoutLooking => "create::what_is_in_use_is_not_removed_as_left_behind";
    /// No sandbox is found by its id.
    NeverConnects => "create::a_sandbox_is_found_by_its_id";
    /// The list is always empty.
    ListsNothing => "create::a_new_sandbox_is_listed";
    /// Snapshots are declared and not there.
    LiesAboutCapabilities => "create::the_capabilities_are_those_of_the_provider";
    /// An option that is not honoured is dropped without a word.
    DropsOptions => "create::template_is_refused_where_it_is_not_honoured";
    /// `Unsupported` names no alternative.
    NamesNoAlternative => "create::image_is_refused_where_it_is_not_honoured";
}

/// The layer that makes a good provider make one mistake.
#[derive(Clone, Copy, Debug)]
pub struct Faulty(pub Fault);

impl Layer for Faulty {
    fn provider(&self, inner: Arc<dyn Provider>) -> Arc<dyn Provider> {
        Arc::new(provider::FaultyProvider { fault: self.0, inner })
    }
}

/// A facet that makes one mistake.
#[derive(Debug)]
struct Spoiled<F: ?Sized> {
    fault: Fault,
    inner: Arc<F>,
}
