//! Figures of a benchmark and the table they end in.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::time::Duration;

/// Runs of one thing.
#[derive(Clone, Debug, Default)]
pub struct Runs(Vec<f64>);

impl Runs {
    /// One more.
    pub fn add(&mut self, duration: Duration) {
        self.0.push(duration.as_secs_f64());
    }

    /// The time in seconds that `share` of all runs do not exceed; not a number without runs.
    pub fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let index = (sorted.len() as f64 * share) as usize;
        sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }

    /// The median in seconds.
    pub fn median(&self) -> f64 {
        self.percentile(0.5)
    }
}

/// Seconds with the unit that reads best.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s.abs() >= 1.0 => format!("{s:.2} s"),
        s if s.abs() >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.1} µs", s * 1e6),
    }
}

/// What stands beside a median.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Beside {
    /// The smallest and the largest run.
    #[default]
    Ends,
    /// The 99th percentile: the largest of fewer than a hundred runs.
    P99,
}

/// The table, a row printed as soon as it is known.
#[derive(Debug, Default)]
pub struct Report {
    beside: Beside,
    begun: bool,
}

impl Report {
    /// A table whose medians have `beside` beside them.
    pub fn new(beside: Beside) -> Self {
        Self { beside, begun: false }
    }

    /// Runs as the table shows them.
    pub fn shown(&self, runs: &Runs) -> String {
        let (median, last) = (time(runs.median()), time(runs.percentile(1.0)));
        match self.beside {
            Beside::Ends => format!("{median} ({} – {last})", time(runs.percentile(0.0))),
            Beside::P99 => format!("p50 {median}, p99 {}", time(runs.percentile(0.99))),
        }
    }

    /// A row whose figure is ours divided by the reference; met up to `most`.
    pub fn ratio(&mut self, work: &str, ours: &Runs, reference: &Runs, most: f64, goal: &str) {
        let ratio = ours.median() / reference.median();
        // Near zero a fraction says more.
        let reached = if most < 0.1 { format!("1/{:.1}", ratio.recip()) } else { format!("{ratio:.2}x") };
        self.row(work, self.shown(ours), self.shown(reference), reached, goal, ratio <= most);
    }

    /// A row whose figure is the reference's time in percent of ours, which is our throughput in percent of the reference's.
    pub fn throughput(&mut self, work: &str, ours: &Runs, reference: &Runs, least: f64, goal: &str) {
        let share = reference.median() / ours.median();
        let reached = format!("{:.0} %", share * 100.0);
        self.row(work, self.shown(ours), self.shown(reference), reached, goal, share >= least);
    }

    /// A row of any other figure.
    pub fn row(
        &mut self,
        work: &str,
        ours: String,
        reference: String,
        reached: String,
        goal: &str,
        met: bool,
    ) {
        self.line([work, &ours, &reference, &reached, goal, if met { "yes" } else { "NO" }]);
    }

    /// A figure without a goal.
    pub fn figure(&mut self, work: &str, ours: String) {
        self.row(work, ours, "–".to_owned(), "–".to_owned(), "none", true);
    }

    /// A row that has no figures because of `reason`.
    pub fn without(&mut self, work: &str, reason: &str, goal: &str) {
        self.line([work, reason, "–", "–", goal, "–"]);
    }

    fn line(&mut self, cells: [&str; 6]) {
        if !self.begun {
            println!("\n| work | ours | reference | reached | goal | met |");
            println!("|---|---|---|---|---|---|");
            self.begun = true;
        }
        println!("| {} |", cells.join(" | "));
    }
}

/// What the figures were measured on.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cpus} processors, Linux {}, load {}",
        kernel.trim(),
        load.split(' ').next().unwrap_or("unknown")
    )
}
