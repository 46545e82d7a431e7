//! Plots as SVG text.

mod heat;
mod lines;
mod strips;
mod trials;

use plotters::style::RGBColor;

pub(crate) use heat::{Fabric, heat};
pub(crate) use lines::{Line, Marks, lines, smoothed};
pub(crate) use strips::{Strip, strips};
pub(crate) use trials::{FRACTIONS, fabric, fractions};

/// Colours that people with any colour vision tell apart (Okabe and Ito).
const PALETTE: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

const GREY: RGBColor = RGBColor(110, 110, 110);
const FONT: &str = "sans-serif";

fn color(index: usize) -> RGBColor {
    PALETTE.get(index % PALETTE.len()).copied().unwrap_or(GREY)
}

/// A plot that can't be drawn, in plotters' words: its errors borrow the picture.
fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("drawing: {error}")
}
