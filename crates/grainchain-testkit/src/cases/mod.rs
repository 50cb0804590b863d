//! The cases, a file for each family.

macro_rules! families {
    ($($family:ident)+) => {
        $(mod $family;)+
        mod support;

        /// Every case of the suite.
        pub fn cases() -> Vec<$crate::Case> {
            [$($family::CASES),+].concat()
        }
    };
}

families! {
    exec timeout output stdin quoting files paths archive transfer watch processes pty signals code_python code_javascript code_bash
    contexts snapshots power fork ports metrics create lifecycle errors deadlines cancel layers unsupported
}

/// The case called `name`.
pub fn case(name: &str) -> Option<crate::Case> {
    cases().into_iter().find(|case| case.name == name)
}
