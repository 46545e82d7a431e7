//! Distributions side by side: a dot for each measurement, a bar at the median.

use plotters::chart::ChartBuilder;
use plotters::drawing::IntoDrawingArea;
use plotters::element::{Circle, PathElement, Text};
use plotters::prelude::SVGBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{BLACK, Color, IntoFont, WHITE};
use serde::Serialize;

use super::{FONT, GREY, color, failed};
use crate::experiment::statistics;

/// Measurements that stand above each other.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Strip {
    /// Strips of one group stand together.
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
}

const SIZE: (u32, u32) = (900, 440);
/// Room between two groups, in strips.
const GAP: f64 = 0.7;

/// Draws strips in their order; the vertical axis goes from 0 to 1. Gives SVG.
pub(crate) fn strips(title: &str, vertical: &str, strips: &[Strip]) -> anyhow::Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(failed)?;
    let places = places(strips);
    let end = places.last().map_or(1.0, |place| place + 1.0);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 20))
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(62)
        .build_cartesian_2d(0.0..end, 0.0..1.05)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_desc(vertical)
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .light_line_style(WHITE)
        .bold_line_style(GREY.mix(0.25))
        .draw()
        .map_err(failed)?;
    let mut names: Vec<&str> = Vec::new();
    for (strip, place) in strips.iter().zip(&places) {
        let index = names.iter().position(|name| *name == strip.name).unwrap_or_else(|| {
            names.push(&strip.name);
            names.len() - 1
        });
        let style = color(index);
        let dots = strip.values.iter().enumerate();
        let dots =
            dots.map(|(i, value)| Circle::new((place + aside(i), *value), 4, style.mix(0.55).filled()));
        chart.draw_series(dots).map_err(failed)?;
        if let Some(median) = statistics::median(&strip.values) {
            let bar =
                PathElement::new([(place - 0.34, median), (place + 0.34, median)], style.stroke_width(3));
            chart.draw_series([bar]).map_err(failed)?;
        }
    }
    // Names stand below the axis, where the chart has no coordinates of its own.
    let text = (FONT, 14).into_font().color(&BLACK).pos(Pos::new(HPos::Center, VPos::Top));
    let spot = |place: f64| chart.backend_coord(&(place, 0.0));
    for (strip, place) in strips.iter().zip(&places) {
        let (x, y) = spot(*place);
        area.draw(&Text::new(strip.name.clone(), (x, y + 6), text.clone())).map_err(failed)?;
    }
    for group in strips.chunk_by(|a, b| a.group == b.group) {
        let Some(first) = group.first() else { continue };
        let of = strips.iter().zip(&places).filter(|(strip, _)| strip.group == first.group);
        let middle = statistics::mean(&of.map(|(_, place)| *place).collect::<Vec<_>>()).unwrap_or(0.0);
        let (x, y) = spot(middle);
        area.draw(&Text::new(first.group.clone(), (x, y + 26), text.clone())).map_err(failed)?;
    }
    area.present().map_err(failed)?;
    drop(chart);
    drop(area);
    Ok(svg)
}

/// Where each strip stands.
fn places(strips: &[Strip]) -> Vec<f64> {
    let mut next = 1.0;
    let mut places = Vec::new();
    for (index, strip) in strips.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|i| strips.get(i));
        if before.is_some_and(|before| before.group != strip.group) {
            next += GAP;
        }
        places.push(next);
        next += 1.0;
    }
    places
}

/// Dots stand a little beside each other, the same way each time.
fn aside(index: usize) -> f64 {
    const PLACES: [f64; 5] = [0.0, 0.12, -0.12, 0.22, -0.22];
    PLACES.get(index % PLACES.len()).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(group: &str, name: &str, values: &[f64]) -> Strip {
        Strip { group: group.into(), name: name.into(), values: values.to_vec() }
    }

    #[test]
    fn each_measurement_is_a_dot() {
        let all = [
            strip("ring", "ecmp", &[0.4, 0.5, 0.6]),
            strip("ring", "spread", &[0.97]),
            strip("b", "ecmp", &[]),
        ];
        let svg = strips("Title", "fraction", &all).unwrap();
        assert_eq!(svg.matches("<circle").count(), 4, "{svg}");
        for text in ["Title", "fraction", "ring", "ecmp", "spread"] {
            assert!(svg.contains(text), "{text}");
        }
        strips("Nothing", "y", &[]).unwrap();
    }

    #[test]
    fn groups_stand_apart() {
        let all = [strip("a", "x", &[]), strip("a", "y", &[]), strip("b", "x", &[])];
        assert_eq!(places(&all), [1.0, 2.0, 3.7]);
    }
}
