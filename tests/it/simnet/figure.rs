//! A figure, the bound that it must keep, and how both are shown.

use std::fmt;

/// A figure and its bound.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) what: &'static str,
    pub(crate) value: f64,
    pub(crate) bound: Bound,
}

/// What a figure must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Figure {
    pub(crate) fn holds(&self) -> bool {
        match self.bound {
            Bound::AtLeast(bound) => self.value >= bound,
            Bound::AtMost(bound) => self.value <= bound,
        }
    }

    /// In steps that small changes seldom cross.
    #[allow(dead_code, reason = "for the table, not for the benchmark")]
    pub(crate) fn rounded(&self) -> String {
        let step = if self.value < 2.0 { 0.02 } else { 1.0 };
        let rounded = (self.value / step).round() * step;
        let digits = if step < 1.0 { 2 } else { 0 };
        let missed = if self.holds() { "" } else { " MISSED" };
        format!("{} {rounded:.digits$}{missed}", self.what)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, bound) = match self.bound {
            Bound::AtLeast(bound) => (">=", bound),
            Bound::AtMost(bound) => ("<=", bound),
        };
        let missed = if self.holds() { "" } else { " MISSED" };
        let digits = if bound < 5.0 { 3 } else { 1 };
        write!(f, "{} {:.digits$} ({sign} {bound}){missed}", self.what, self.value)
    }
}

pub(crate) fn at_least(what: &'static str, value: f64, bound: f64) -> Figure {
    Figure {
        what,
        value,
        bound: Bound::AtLeast(bound),
    }
}

pub(crate) fn at_most(what: &'static str, value: f64, bound: f64) -> Figure {
    Figure {
        what,
        value,
        bound: Bound::AtMost(bound),
    }
}
