//! The picture: latency by percentile, one line for each system, all repeats together.

use std::collections::BTreeMap;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use crate::Failure;
use crate::outcome::{Outcome, Setting};
use crate::reader::histogram;
use crate::systems::System;

const SIZE: (u32, u32) = (960, 540);

/// Where Debian and others keep a font without serifs.
const FONTS: [&str; 2] =
    ["/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf"];

/// The right edge: one record in ten thousand is slower.
const NINES_MAX: f64 = 4.0;

/// A line: how many nines of the records are faster, and how fast in ms.
type Line = Vec<(f64, f64)>;

/// Draws one picture for each setting; with several, the interval is added to the name.
pub(crate) fn draw(outcomes: &[Outcome], path: &Path) -> Result<(), Failure> {
    let mut settings: Vec<&Setting> =
        outcomes.iter().map(|outcome| &outcome.setting).filter(|setting| !setting.throughput).collect();
    settings.sort();
    settings.dedup();
    let has_font = use_font();
    if !has_font {
        eprintln!("there is no font for PNG files here: only SVG is drawn");
    }
    for setting in &settings {
        let lines = lines(outcomes, setting);
        let name = match settings.len() {
            1 => path.display().to_string(),
            _ => format!("{}-{}ms-{}", path.display(), setting.interval_ms, setting.rate),
        };
        let failed = |error: &dyn std::fmt::Display| Failure::new("draw", error.to_string());
        let svg = format!("{name}.svg");
        plot(&SVGBackend::new(&svg, SIZE).into_drawing_area(), setting, &lines).map_err(|e| failed(&e))?;
        if has_font {
            let png = format!("{name}.png");
            plot(&BitMapBackend::new(&png, SIZE).into_drawing_area(), setting, &lines)
                .map_err(|e| failed(&e))?;
        }
    }
    Ok(())
}

fn use_font() -> bool {
    let Some(font) = FONTS.iter().find_map(|path| std::fs::read(path).ok()) else { return false };
    // It is used until the end of the program.
    register_font("sans-serif", FontStyle::Normal, Box::leak(font.into_boxed_slice())).is_ok()
}

fn lines(outcomes: &[Outcome], setting: &Setting) -> BTreeMap<System, Line> {
    let mut merged = BTreeMap::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.setting == *setting) {
        let all = merged.entry(outcome.system).or_insert_with(histogram);
        for (value, count) in &outcome.micros {
            all.saturating_record_n(*value, *count);
        }
    }
    let line = |all: &hdrhistogram::Histogram<u64>| {
        let nines = (0..=200).map(|step| NINES_MAX * f64::from(step) / 200.0);
        nines.map(|nines| (nines, all.value_at_quantile(1.0 - 10f64.powf(-nines)) as f64 / 1e3)).collect()
    };
    merged.iter().map(|(system, all)| (*system, line(all))).collect()
}

fn color(system: System) -> RGBColor {
    match system {
        System::Floor => RGBColor(150, 150, 150),
        System::Raw => RGBColor(80, 80, 80),
        System::RawConditional => RGBColor(150, 110, 40),
        System::Tidelock => RGBColor(0, 114, 178),
        System::TidelockAlo => RGBColor(86, 180, 233),
        System::TidelockPrepared => RGBColor(0, 60, 110),
        System::TidelockLedger => RGBColor(0, 60, 110),
        System::Flink => RGBColor(213, 94, 0),
        System::Native => RGBColor(204, 121, 167),
        System::Streams => RGBColor(0, 158, 115),
    }
}

fn plot<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    setting: &Setting,
    lines: &BTreeMap<System, Line>,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    area.fill(&WHITE)?;
    let Setting { interval_ms, rate, size, .. } = setting;
    let title = format!("Visible latency: {rate} records/s of {size} bytes, commit every {interval_ms} ms");
    let slowest = lines.values().flatten().map(|(_, ms)| *ms).fold(1.0, f64::max);
    let fastest = lines.values().flatten().map(|(_, ms)| *ms).fold(slowest, f64::min).max(0.5);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        // The last label is wider than half of it.
        .margin_right(36)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..NINES_MAX, (fastest * 0.8..slowest * 1.2).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("percentile of the records")
        .y_desc("ms from due to seen by a read_committed reader")
        .x_labels(5)
        .x_label_formatter(&|nines| percentile(*nines))
        .y_label_formatter(&|ms| format!("{ms}"))
        .label_style(("sans-serif", 14))
        .draw()?;
    for (system, line) in lines {
        let style = color(*system).stroke_width(2);
        chart
            .draw_series(LineSeries::new(line.iter().copied(), style))?
            .label(system.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 14))
        .draw()?;
    area.present()
}

fn percentile(nines: f64) -> String {
    match nines.round() as i32 {
        0 => "0".to_owned(),
        1 => "90".to_owned(),
        2 => "99".to_owned(),
        more => format!("99.{}", "9".repeat(usize::try_from(more - 2).unwrap_or(0))),
    }
}
