//! Rules that tests leave out on purpose, to see that they find what goes wrong without them.

/// Whether a rule is left out: in a build by `tests/campaign --broken RULE`, or in a simulation without it. False in the
/// program itself, and the compiler knows that.
macro_rules! broken {
    ($rule:literal) => {
        cfg!(broken = $rule) || $crate::broken::is_left_out($rule)
    };
}

#[cfg(not(test))]
pub(crate) const fn is_left_out(_: &str) -> bool {
    false
}

#[cfg(test)]
pub(crate) use simulated::{is_left_out, leave_out};

#[cfg(test)]
mod simulated {
    use std::cell::Cell;

    thread_local! {
        static LEFT_OUT: Cell<&'static str> = const { Cell::new("") };
    }

    pub(crate) fn is_left_out(rule: &str) -> bool {
        LEFT_OUT.get() == rule
    }

    /// Leaves out a rule in this thread, from now on.
    pub(crate) fn leave_out(rule: &'static str) {
        LEFT_OUT.set(rule);
    }
}
