//! When the timer thread is told of a deadline.

use crate::stream::alarm::{Alarm, Look, messages};
use crate::stream::sync::now;
use std::time::Duration;

#[test]
fn a_deadline_that_moved_on_is_slept_for_again_and_one_that_passed_is_told_once() {
    let start = now();
    let at = |millis| start + Duration::from_millis(millis);
    let alarm = Alarm::new(start);
    let (wake, woken) = messages();
    assert_eq!(alarm.look(start), Look::Sleep(None));
    alarm.set(Some(at(5)), &wake);
    assert!(woken.try_recv().is_ok(), "it slept without end");
    assert_eq!(alarm.look(start), Look::Sleep(Some(at(5))));
    alarm.set(Some(at(9)), &wake);
    assert!(woken.try_recv().is_err(), "it wakes early enough");
    assert_eq!(alarm.look(at(5)), Look::Sleep(Some(at(9))));
    alarm.set(Some(at(7)), &wake);
    assert!(woken.try_recv().is_ok());
    assert_eq!(alarm.look(at(6)), Look::Sleep(Some(at(7))));
    assert_eq!(alarm.look(at(8)), Look::Due);
    assert_eq!(alarm.look(at(8)), Look::Sleep(None));
}
