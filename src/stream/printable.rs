//! Words of a peer that people will read.

/// `text` without what controls a terminal, or turns the direction of what is read.
pub(crate) fn printable(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| !c.is_control() && !turns(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_stranger_controls_a_terminal() {
        assert_eq!(printable("go\u{1b}[2J away\n\u{202e}now"), "go[2J awaynow");
        assert_eq!(printable("ganz normale Wörter"), "ganz normale Wörter");
    }
}
