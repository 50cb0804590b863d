//! Figures and the table they end in.

use std::time::Duration;

/// Runs of one thing.
#[derive(Debug, Default)]
pub(crate) struct Runs(Vec<f64>);

impl Runs {
    pub(crate) fn add(&mut self, duration: Duration) {
        self.0.push(duration.as_secs_f64());
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn shown(&self) -> String {
        let sorted = self.sorted();
        let (first, last) =
            (sorted.first().copied().unwrap_or(f64::NAN), sorted.last().copied().unwrap_or(f64::NAN));
        format!("{} ({} – {})", time(self.median()), time(first), time(last))
    }
}

/// Seconds with the unit that reads best.
pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.1} µs", s * 1e6),
    }
}

/// The table, a row printed as soon as it is known.
#[derive(Default)]
pub(crate) struct Report {
    begun: bool,
}

impl Report {
    /// A row whose figure is ours divided by the reference; met up to `most`.
    pub(crate) fn ratio(&mut self, work: &str, ours: &Runs, reference: &Runs, most: f64, goal: &str) {
        let ratio = ours.median() / reference.median();
        self.row(work, ours.shown(), reference.shown(), format!("{ratio:.2}x"), goal, ratio <= most);
    }

    /// A row whose figure is the reference's time in percent of ours, which is our throughput in percent of the reference's.
    pub(crate) fn throughput(&mut self, work: &str, ours: &Runs, reference: &Runs, least: f64, goal: &str) {
        let share = reference.median() / ours.median();
        self.row(
            work,
            ours.shown(),
            reference.shown(),
            format!("{:.0} %", share * 100.0),
            goal,
            share >= least,
        );
    }

    pub(crate) fn row(
        &mut self,
        work: &str,
        ours: String,
        reference: String,
        reached: String,
        goal: &str,
        met: bool,
    ) {
        if !self.begun {
            println!("\n| work | ours | reference | reached | goal | met |");
            println!("|---|---|---|---|---|---|");
            self.begun = true;
        }
        let met = if met { "yes" } else { "NO" };
        println!("| {work} | {ours} | {reference} | {reached} | {goal} | {met} |");
    }

    /// A figure without a goal.
    pub(crate) fn figure(&mut self, work: &str, ours: String) {
        self.row(work, ours, "–".to_owned(), "–".to_owned(), "none", true);
    }
}

/// What the figures were measured on.
pub(crate) fn machine() -> String {
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
