//! A two-tier fabric as a picture: each link in both directions, coloured by its load.

use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{PathElement, Rectangle, Text};
use plotters::prelude::SVGBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{BLACK, Color, IntoFont, RGBColor, WHITE};
use serde::Serialize;

use super::{FONT, GREY, failed};

/// Nodes by tier, and what is between them.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Fabric {
    /// From the top: spines, leaves, hosts.
    pub(crate) tiers: Vec<Vec<String>>,
    /// From, to, load: 1 is as much as the link carries.
    pub(crate) links: Vec<(String, String, f64)>,
}

const SIZE: (u32, u32) = (900, 430);
const TOP: i32 = 70;
const BOTTOM: i32 = 360;
/// Half the distance between the two directions of a link.
const APART: f64 = 3.0;
const WIDTH: u32 = 4;

/// Draws a fabric; gives SVG.
pub(crate) fn heat(title: &str, fabric: &Fabric) -> anyhow::Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    draw(&area, title, fabric)?;
    drop(area);
    Ok(svg)
}

fn draw(area: &DrawingArea<SVGBackend<'_>, Shift>, title: &str, fabric: &Fabric) -> anyhow::Result<()> {
    area.fill(&WHITE).map_err(failed)?;
    let text = |size: u32| (FONT, size).into_font().color(&BLACK).pos(Pos::new(HPos::Center, VPos::Center));
    let middle = i32::try_from(SIZE.0 / 2)?;
    area.draw(&Text::new(title.to_owned(), (middle, 24), text(20))).map_err(failed)?;
    for (from, to, load) in &fabric.links {
        let (Some(a), Some(b)) = (fabric.place(from), fabric.place(to)) else { continue };
        let line = aside(a, b);
        area.draw(&PathElement::new(line, shade(*load).stroke_width(WIDTH))).map_err(failed)?;
    }
    for name in fabric.tiers.iter().flatten() {
        let Some((x, y)) = fabric.place(name) else { continue };
        let corners = [(x - 30, y - 11), (x + 30, y + 11)];
        area.draw(&Rectangle::new(corners, WHITE.filled())).map_err(failed)?;
        area.draw(&Rectangle::new(corners, BLACK.stroke_width(1))).map_err(failed)?;
        area.draw(&Text::new(name.clone(), (x, y), text(13))).map_err(failed)?;
    }
    legend(area)?;
    area.present().map_err(failed)
}

/// A scale below the picture.
fn legend(area: &DrawingArea<SVGBackend<'_>, Shift>) -> anyhow::Result<()> {
    let text = (FONT, 13).into_font().color(&BLACK).pos(Pos::new(HPos::Center, VPos::Center));
    for step in 0..=50_i32 {
        let x = 300 + step * 6;
        let colour = shade(f64::from(step) / 50.0);
        area.draw(&Rectangle::new([(x, 396), (x + 6, 408)], colour.filled())).map_err(failed)?;
    }
    for (x, name) in [(300, "0"), (453, "load of the link, each direction by itself"), (606, "1")] {
        area.draw(&Text::new(name, (x, 418), text.clone())).map_err(failed)?;
    }
    Ok(())
}

impl Fabric {
    fn place(&self, name: &str) -> Option<(i32, i32)> {
        let tier = self.tiers.iter().position(|tier| tier.iter().any(|n| n == name))?;
        let nodes = self.tiers.get(tier)?;
        let position = nodes.iter().position(|n| n == name)?;
        let between = |from: i32, to: i32, part: usize, of: usize| -> Option<i32> {
            let (part, of) = (i32::try_from(part).ok()?, i32::try_from(of).ok()?);
            Some(from + (to - from) * part / of.max(1))
        };
        let x = between(0, i32::try_from(SIZE.0).ok()?, 2 * position + 1, 2 * nodes.len())?;
        Some((x, between(TOP, BOTTOM, tier, self.tiers.len().saturating_sub(1))?))
    }
}

/// A line moved to its own right, so that the two directions of a link lie beside each other.
fn aside(a: (i32, i32), b: (i32, i32)) -> [(i32, i32); 2] {
    let (dx, dy) = (f64::from(b.0 - a.0), f64::from(b.1 - a.1));
    let length = dx.hypot(dy).max(1.0);
    #[expect(clippy::cast_possible_truncation, reason = "a few pixels")]
    let (right, down) = ((-dy / length * APART).round() as i32, (dx / length * APART).round() as i32);
    [(a.0 + right, a.1 + down), (b.0 + right, b.1 + down)]
}

/// From grey over yellow to dark red.
fn shade(load: f64) -> RGBColor {
    const STOPS: [(f64, RGBColor); 4] = [
        (0.0, RGBColor(225, 225, 225)),
        (0.4, RGBColor(245, 210, 90)),
        (0.75, RGBColor(225, 95, 40)),
        (1.0, RGBColor(125, 0, 35)),
    ];
    let load = load.clamp(0.0, 1.0);
    for pair in STOPS.windows(2) {
        let [(from, low), (to, high)] = pair else { continue };
        if load <= *to {
            let part = (load - from) / (to - from);
            let mix = |a: u8, b: u8| {
                let value = f64::from(a) + (f64::from(b) - f64::from(a)) * part;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "between two bytes"
                )]
                let byte = value.round() as u8;
                byte
            };
            return RGBColor(mix(low.0, high.0), mix(low.1, high.1), mix(low.2, high.2));
        }
    }
    GREY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_and_node_is_drawn() {
        let tiers = [&["spine00", "spine01"][..], &["leaf00"], &["host00"]];
        let tiers = tiers.map(|tier| tier.iter().map(|name| (*name).to_owned()).collect()).to_vec();
        let link = |from: &str, to: &str, load| (from.to_owned(), to.to_owned(), load);
        let links =
            vec![link("leaf00", "spine00", 1.0), link("spine00", "leaf00", 0.0), link("mgmt", "leaf00", 0.5)];
        let svg = heat("Ring", &Fabric { tiers, links }).unwrap();
        assert_eq!(svg.matches("<polyline").count(), 2, "{svg}");
        assert!(svg.contains("#7D0023") && svg.contains("spine01") && svg.contains("host00"), "{svg}");
    }

    #[test]
    fn shades_run_from_grey_to_dark_red() {
        let shown = |load: f64| {
            let RGBColor(r, g, b) = shade(load);
            (r, g, b)
        };
        assert_eq!((shown(-1.0), shown(0.0)), ((225, 225, 225), (225, 225, 225)));
        assert_eq!(shown(0.2), (235, 218, 158));
        assert_eq!((shown(1.0), shown(7.0)), ((125, 0, 35), (125, 0, 35)));
    }

    #[test]
    fn the_two_directions_lie_beside_each_other() {
        assert_eq!(aside((0, 0), (0, 100)), [(-3, 0), (-3, 100)]);
        assert_eq!(aside((0, 100), (0, 0)), [(3, 100), (3, 0)]);
    }
}
