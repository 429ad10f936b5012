//! The alarm: whatever the order, the timer thread never sleeps beyond the deadline that is wanted.

use super::alarm::{Alarm, Look, messages};
use super::explore;
use shuttle::thread;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn the_timer_thread_never_oversleeps() {
    explore(31, || {
        let start = super::sync::now();
        let at = move |millis| start + Duration::from_millis(millis);
        let alarm = Arc::new(Alarm::new(start));
        let (wake, woken) = messages();
        let timer = {
            let alarm = Arc::clone(&alarm);
            // Nobody lets time pass: only messages wake it. Without the last one it would hang.
            thread::spawn(move || {
                while alarm.look(start) != Look::Sleep(Some(at(10))) {
                    woken.recv().expect("there is an end to come");
                }
            })
        };
        for millis in [50, 20, 80, 30, 10] {
            alarm.set(Some(at(millis)), &wake);
        }
        timer.join().expect("it came to the last deadline");
    });
}
