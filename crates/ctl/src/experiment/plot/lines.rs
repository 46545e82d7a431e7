//! Lines over time, with events and levels.

use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{PathElement, Text};
use plotters::prelude::{LineSeries, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{BLACK, Color, IntoFont, ShapeStyle, WHITE};
use serde::Serialize;

use super::{FONT, GREY, color, failed};

/// A line with its name.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    #[serde(skip)]
    bold: bool,
}

impl Line {
    pub(crate) fn bold(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), points, bold: true }
    }

    /// For what lies behind another line.
    pub(crate) fn thin(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), points, bold: false }
    }

    fn style(&self, index: usize) -> ShapeStyle {
        if self.bold { color(index).stroke_width(2) } else { color(index).mix(0.35).stroke_width(1) }
    }
}

/// What is marked beside the lines.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Marks {
    /// Places on the horizontal axis.
    pub(crate) events: Vec<(f64, String)>,
    /// Places on the vertical axis.
    pub(crate) levels: Vec<(f64, String)>,
}

const SIZE: (u32, u32) = (900, 420);
/// Room for names on the right.
const LEGEND: u32 = 150;

/// Draws lines; gives SVG.
pub(crate) fn lines(
    title: &str,
    horizontal: &str,
    vertical: &str,
    lines: &[Line],
    marks: &Marks,
) -> anyhow::Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    draw(&area, title, [horizontal, vertical], lines, marks)?;
    drop(area);
    Ok(svg)
}

fn draw(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    [horizontal, vertical]: [&str; 2],
    lines: &[Line],
    marks: &Marks,
) -> anyhow::Result<()> {
    area.fill(&WHITE).map_err(failed)?;
    let points = || lines.iter().flat_map(|line| &line.points);
    let end = points().map(|(x, _)| *x).fold(1e-9, f64::max);
    let tops = points().map(|(_, y)| *y).chain(marks.levels.iter().map(|(y, _)| *y));
    let top = tops.fold(1e-9, f64::max) * 1.08;
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 20))
        .margin(14)
        .margin_right(LEGEND)
        .x_label_area_size(42)
        .y_label_area_size(62)
        .build_cartesian_2d(0.0..end, 0.0..top)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc(horizontal)
        .y_desc(vertical)
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .light_line_style(WHITE)
        .bold_line_style(GREY.mix(0.2))
        .draw()
        .map_err(failed)?;
    for (index, line) in lines.iter().enumerate() {
        let series = LineSeries::new(line.points.iter().copied(), line.style(index));
        chart.draw_series(series).map_err(failed)?;
    }
    let text = (FONT, 14).into_font().color(&BLACK);
    for (x, name) in &marks.events {
        let line = PathElement::new([(*x, 0.0), (*x, top)], BLACK.stroke_width(1));
        chart.draw_series([line]).map_err(failed)?;
        let label = Text::new(name.clone(), (*x + end * 0.006, top * 0.99), text.clone());
        chart.draw_series([label]).map_err(failed)?;
    }
    for (y, _) in &marks.levels {
        let line = PathElement::new([(0.0, *y), (end, *y)], GREY.stroke_width(1));
        chart.draw_series([line]).map_err(failed)?;
    }
    // Names stand to the right, where no line crosses them and the chart has no coordinates of its own.
    let text = text.pos(Pos::new(HPos::Left, VPos::Center));
    for (y, name) in &marks.levels {
        let (x, y) = chart.backend_coord(&(end, *y));
        area.draw(&Text::new(name.clone(), (x + 6, y), text.clone())).map_err(failed)?;
    }
    let (left, bottom) = chart.backend_coord(&(end, 0.0));
    for (index, line) in lines.iter().enumerate() {
        let row = i32::try_from(lines.len() - index)?;
        let y = bottom - row * 20;
        area.draw(&PathElement::new([(left + 6, y), (left + 24, y)], line.style(index))).map_err(failed)?;
        area.draw(&Text::new(line.name.clone(), (left + 30, y), text.clone())).map_err(failed)?;
    }
    area.present().map_err(failed)
}

/// Each point replaced by the mean of so many around it; fewer at the ends.
pub(crate) fn smoothed(points: &[(f64, f64)], width: usize) -> Vec<(f64, f64)> {
    let around = |index: usize| {
        let from = index.saturating_sub(width / 2);
        let to = (index + width.div_ceil(2)).min(points.len());
        points.get(from..to).unwrap_or_default()
    };
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let mean = |part: &[(f64, f64)]| part.iter().map(|(_, y)| y).sum::<f64>() / part.len().max(1) as f64;
    points.iter().enumerate().map(|(index, (x, _))| (*x, mean(around(index)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_its_lines_and_marks() {
        let line = Line::bold("payload <&>", vec![(0.0, 1.0), (1.0, 2.0)]);
        let marks = Marks { events: vec![(0.5, "failure".into())], levels: vec![(1.5, "possible".into())] };
        let svg = lines("Title", "seconds", "Mbit/s", &[line], &marks).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for text in ["Title", "seconds", "Mbit/s", "payload &lt;&amp;&gt;", "failure", "possible"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert!(svg.contains("<polyline"), "{svg}");
        lines("Nothing", "x", "y", &[], &Marks::default()).unwrap();
    }

    #[test]
    fn smoothing_is_the_mean_around() {
        let points: Vec<(f64, f64)> = [0.0, 4.0, 8.0, 4.0].into_iter().map(|y| (0.0, y)).collect();
        let ys: Vec<f64> = smoothed(&points, 2).into_iter().map(|(_, y)| y).collect();
        assert_eq!(ys, [0.0, 2.0, 6.0, 6.0]);
        assert_eq!(smoothed(&points, 1), points);
    }
}
