//! What a run comes to: a line each minute, a table at the end, and the first of what was wrong.

use std::fmt::Write;

use gateway_bench::publish::machine;

use crate::{
    ledger::{Fault, Ledger, Tally, Violation},
    memory::{Curve, Growth, JUDGED},
    windows::Cause,
};

/// What a run was.
pub struct Run {
    /// Minutes of load.
    pub minutes: f64,
    /// Envoy's workers.
    pub workers: u32,
    /// What everything was drawn from.
    pub seed: u64,
    /// Requests a second that were aimed at.
    pub rate: u32,
    /// Memory of Envoy, of the program and of the soak itself.
    pub memory: [(&'static str, Curve); 3],
}

impl Run {
    /// The line of a minute.
    pub fn progress(&self, minute: u64, ledger: &Ledger) -> String {
        let all = total(ledger);
        let faults: u64 = ledger.faults().values().sum();
        let [envoy, program, own] = self.memory.each_ref().map(|(_, curve)| curve.last());
        format!(
            "minute {minute}: {} requests, {} served, {} refused, {} explained, {faults} violations, {} open; \
             MiB: Envoy {envoy:.0}, program {program:.0}, soak {own:.0}",
            all.all(),
            all.served,
            all.refused,
            all.explained,
            ledger.open()
        )
    }

    /// Growth of the programs under test, if the run was long enough to say.
    pub fn grown(&self) -> Vec<String> {
        if self.minutes * 60.0 < JUDGED.as_secs_f64() {
            return Vec::new();
        }
        let [envoy, program, _] = &self.memory;
        let grown = [envoy, program].into_iter().filter_map(|(name, curve)| {
            let growth = curve.growth();
            growth.too_much().then(|| {
                let Growth { half, end, .. } = growth;
                format!(
                    "{name}: {half:.0} MiB at half time, {end:.0} at the end, {:.0} at most",
                    growth.bound()
                )
            })
        });
        grown.collect()
    }

    /// The table, in Markdown.
    pub fn table(&self, ledger: &mut Ledger) -> String {
        let mut text = format!(
            "{}, {}, with seed {}.\n\n| | |\n|---|---:|\n",
            jiff::Zoned::now().date(),
            machine(),
            self.seed
        );
        let all = total(ledger);
        let windows = ledger.windows();
        let count = |windows: &crate::windows::Windows, kind: fn(Cause) -> bool| {
            windows.count(kind).to_string()
        };
        let disturbances = [
            (
                "reloads of the configuration, refused ones among them",
                count(windows, |cause| matches!(cause, Cause::Reload | Cause::Membership(_))),
            ),
            ("rotations of keys", count(windows, |cause| matches!(cause, Cause::Rotation(_)))),
            ("outages of issuers", count(windows, |cause| matches!(cause, Cause::Outage(_)))),
            ("crashes of a VM", count(windows, |cause| cause == Cause::Crash)),
            ("other ServiceAccount tokens", count(windows, |cause| cause == Cause::Token)),
            ("restarts of kube-apiserver", count(windows, |cause| cause == Cause::Restart)),
        ];
        let fault = |kinds: &[Fault]| -> String {
            kinds.iter().filter_map(|kind| ledger.faults().get(kind)).sum::<u64>().to_string()
        };
        let mut rows = vec![
            ("minutes", format!("{:.0}", self.minutes)),
            ("workers", self.workers.to_string()),
            ("requests", all.all().to_string()),
            (
                "requests a second, of those aimed at",
                format!("{:.0} of {}", all.all() as f64 / (self.minutes * 60.0), self.rate),
            ),
            ("served, and proven by kube-apiserver's audit log", ledger.proven().to_string()),
            ("refused, as was right", all.refused.to_string()),
            ("failed within a window of the schedule", all.explained.to_string()),
            ("left by the client", all.left.to_string()),
        ];
        rows.extend(disturbances);
        rows.extend([
            ("reviews that the gateway asked for as itself", ledger.own_reviews().to_string()),
            ("**wrong identities**", fault(&[Fault::WrongIdentity])),
            ("**requests as the gateway itself**", fault(&[Fault::AsGateway])),
            ("**bad tokens taken**", fault(&[Fault::Accepted])),
            ("**good requests refused**", fault(&[Fault::Refused, Fault::Status])),
            ("**unexplained 5xx**", fault(&[Fault::Unavailable])),
            ("**lost or doubled events and lines**", fault(&[Fault::Lost, Fault::Doubled])),
            (
                "**logs that disagree, or have no proof**",
                fault(&[Fault::Disagreement, Fault::Unproven]),
            ),
            ("**crashes of a VM, or panics, by themselves**", fault(&[Fault::Crash])),
            ("**other violations**", fault(&[Fault::Disturbance, Fault::Memory])),
        ]);
        for (name, curve) in &self.memory {
            let Growth { start, half, end } = curve.growth();
            let name = format!("memory of {name}, MiB: start, half time, end");
            let _ = writeln!(text, "| {name} | {start:.0}, {half:.0}, {end:.0} |");
        }
        for (name, value) in rows {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        let _ = write!(
            text,
            "\n| request | served | refused | explained | left | wrong |\n|---|---:|---:|---:|---:|---:|\n"
        );
        for (kind, Tally { served, refused, explained, left, wrong }) in ledger.tallies() {
            let _ = writeln!(
                text,
                "| {kind} | {served} | {refused} | {explained} | {left} | {wrong} |"
            );
        }
        text
    }
}

/// What was wrong, the first of it whole.
pub fn violations(ledger: &Ledger) -> String {
    let mut text = String::new();
    for (fault, count) in ledger.faults() {
        let _ = writeln!(text, "{count} x {fault}");
    }
    for violation in ledger.violations() {
        let _ = write!(text, "\n{}", self::violation(violation));
    }
    text
}

/// One of them, with what went on around it.
pub fn violation(violation: &Violation) -> String {
    let id = if violation.audit_id.is_empty() { "unknown" } else { &violation.audit_id };
    let mut text = format!("{} (Audit-ID {id}): {}\n", violation.fault, violation.text);
    for window in &violation.windows {
        let _ = writeln!(text, "    {window}");
    }
    text
}

fn total(ledger: &Ledger) -> Tally {
    ledger.tallies().values().fold(Tally::default(), |sum, tally| Tally {
        served: sum.served + tally.served,
        refused: sum.refused + tally.refused,
        explained: sum.explained + tally.explained,
        left: sum.left + tally.left,
        wrong: sum.wrong + tally.wrong,
    })
}
