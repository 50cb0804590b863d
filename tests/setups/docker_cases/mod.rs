//! What containers add to the suite: their walls, met by whoever is inside, and what is left when something goes wrong.

mod support;

/// Declares the cases of one family, as the suite's own are declared.
///
/// After the argument stand, each optional and in this order: `needs [capabilities]`, `lacks [capabilities]`, `with [tools]`,
/// `tags [tags]`.
macro_rules! cases {
    ($family:ident: $(
        fn $name:ident($cx:ident)
        $(needs [$($need:ident),+])?
        $(lacks [$($lack:ident),+])?
        $(with [$($tool:ident),+])?
        $(tags [$($tag:ident),+])?
        $body:block
    )+) => {
        pub(super) const CASES: &[grainchain_testkit::Case] = &[$(
            grainchain_testkit::Case::new(
                concat!(stringify!($family), "::", stringify!($name)),
                |$cx| Box::pin(async move {
                    $body
                    Ok(())
                }),
            )
            .needs(&[$($(grainchain_core::Capability::$need),+)?])
            .lacks(&[$($(grainchain_core::Capability::$lack),+)?])
            .tools(&[$($(grainchain_testkit::Tool::$tool),+)?])
            .tags(&[$($(grainchain_testkit::Tag::$tag),+)?]),
        )+];
    };
}

mod behind;
mod first_process;
mod helper;
mod leftovers;
mod limits;
mod network;
mod paths;
mod pids;
mod walls;
mod ways_in;

/// Every case of this provider's own.
pub(crate) fn cases() -> Vec<grainchain_testkit::Case> {
    [
        walls::CASES,
        first_process::CASES,
        limits::CASES,
        pids::CASES,
        network::CASES,
        ways_in::CASES,
        paths::CASES,
        helper::CASES,
        behind::CASES,
        leftovers::CASES,
    ]
    .concat()
}
