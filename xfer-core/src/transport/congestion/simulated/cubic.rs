//! What a loss-based sender does, for something to share the link with

use std::time::Duration;

use super::link::PACKET;

/// CUBIC without its refinements: slow start, cubic growth, seven tenths on a loss
pub(super) struct Cubic {
    window: f64,
    threshold: f64,
    /// The window at the last loss, when it was, and until when further losses are the same event
    top: f64,
    since: Duration,
    deaf_until: Duration,
}

impl Cubic {
    pub(super) fn new() -> Self {
        Self {
            window: 10.0,
            threshold: f64::INFINITY,
            top: 0.0,
            since: Duration::ZERO,
            deaf_until: Duration::ZERO,
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
    pub(super) fn window(&self) -> u64 {
        self.window as u64 * PACKET
    }

    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    pub(super) fn acknowledged(&mut self, now: Duration, bytes: u64, rtt: Duration) {
        let packets = (bytes / PACKET) as f64;
        if self.window < self.threshold {
            self.window += packets;
            return;
        }
        let elapsed = (now + rtt).saturating_sub(self.since).as_secs_f64();
        let bend = (self.top * 0.3 / 0.4).cbrt();
        let cubic = self.top + 0.4 * (elapsed - bend).powi(3);
        let reno = self.top * 0.7 + 0.53 * elapsed / rtt.as_secs_f64();
        let target = cubic.max(reno).min(1.5 * self.window);
        if target > self.window {
            self.window += (target - self.window) / self.window * packets;
        }
    }

    pub(super) fn lost(&mut self, now: Duration, rtt: Duration) {
        if now < self.deaf_until {
            return;
        }
        self.top = self.window;
        self.window = (self.window * 0.7).max(2.0);
        self.threshold = self.window;
        self.since = now;
        self.deaf_until = now + rtt;
    }
}
