//! Groups of bars, as SVG

use std::fmt::Write;

const HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 60.0;
const BELOW: f64 = 80.0;
const BAR: f64 = 16.0;
const GAP: f64 = 22.0;
const LEGEND_ENTRY: f64 = 130.0;
const COLOURS: &[&str] = &[
    "#0b6e4f", "#2a9df4", "#7b4fb5", "#d1495b", "#edae49", "#66717e", "#00798c", "#8d5b4c",
    "#b5c99a", "#30323d",
];

/// Bars in groups, one colour a series
#[derive(Clone, Debug, Default)]
pub(crate) struct Plot {
    pub(crate) title: String,
    /// What the height of a bar means, with its unit
    pub(crate) vertical: String,
    /// What a group is
    pub(crate) horizontal: String,
    pub(crate) series: Vec<String>,
    /// The name of each group, and a value for each of its series
    pub(crate) groups: Vec<(String, Vec<(usize, f64)>)>,
}

impl Plot {
    pub(crate) fn svg(&self) -> String {
        let widths = self.groups.iter().map(|(_, bars)| bars.len() as f64 * BAR + GAP);
        let right = (LEFT + GAP + widths.sum::<f64>())
            .max(LEFT + self.series.len() as f64 * LEGEND_ENTRY)
            .max(LEFT + 8.0 * self.title.len() as f64);
        let bottom = TOP + HEIGHT;
        let (width, height) = (right + 20.0, bottom + BELOW);
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" \
             height=\"{height:.0}\" font-family=\"sans-serif\" font-size=\"11\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        label(&mut text, LEFT, 20.0, "", &self.title);
        for (index, name) in self.series.iter().enumerate() {
            let x = LEFT + index as f64 * LEGEND_ENTRY;
            bar(&mut text, x, 32.0, (10.0, 10.0), (colour(index), name));
            label(&mut text, x + 14.0, 41.0, "", name);
        }
        let values = self.groups.iter().flat_map(|(_, bars)| bars.iter().map(|bar| bar.1));
        let step = step(values.fold(0.0, f64::max));
        let scale = HEIGHT / (5.0 * step);
        for tick in 0..=5 {
            let value = f64::from(tick) * step;
            let y = bottom - value * scale;
            line(&mut text, (LEFT, y), (right, y), "#dddddd");
            label(&mut text, LEFT - 6.0, y + 4.0, "text-anchor=\"end\"", &format!("{value}"));
        }
        let mut x = LEFT + GAP;
        for (name, bars) in &self.groups {
            let turned = format!("transform=\"rotate(20 {x:.1} {:.1})\"", bottom + 14.0);
            label(&mut text, x, bottom + 14.0, &turned, name);
            for (series, value) in bars {
                let height = value * scale;
                let told = format!("{name}, {}: {value:.1}", self.series[*series]);
                let size = (BAR - 2.0, height);
                bar(&mut text, x, bottom - height, size, (colour(*series), &told));
                x += BAR;
            }
            x += GAP;
        }
        line(&mut text, (LEFT, bottom), (right, bottom), "black");
        line(&mut text, (LEFT, TOP), (LEFT, bottom), "black");
        let middle = (LEFT + right) / 2.0;
        label(&mut text, middle, height - 8.0, "text-anchor=\"middle\"", &self.horizontal);
        let turned = "text-anchor=\"middle\" transform=\"rotate(-90 16 220)\"";
        label(&mut text, 16.0, 220.0, turned, &self.vertical);
        text + "</svg>\n"
    }
}

/// A fifth of the axis: 1, 2 or 5 of a power of ten
fn step(largest: f64) -> f64 {
    let wanted = (largest / 5.0).max(1e-9);
    let power = 10_f64.powf(wanted.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|factor| factor * power);
    steps.into_iter().find(|step| *step >= wanted).unwrap_or(10.0 * power)
}

fn colour(series: usize) -> &'static str {
    COLOURS[series % COLOURS.len()]
}

fn label(svg: &mut String, x: f64, y: f64, attributes: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    // Writing to a string does not fail.
    let _written = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{text}</text>");
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let _written = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn bar(svg: &mut String, x: f64, y: f64, size: (f64, f64), (colour, told): (&str, &str)) {
    let _written = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
         fill=\"{colour}\"><title>{told}</title></rect>",
        size.0, size.1
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_above_the_highest_bar() {
        for (largest, fifth) in [(100.0, 20.0), (101.0, 50.0), (4.9, 1.0), (0.0, 1e-9)] {
            assert!((step(largest) - fifth).abs() < fifth * 1e-6, "{largest}");
        }
    }

    #[test]
    fn every_bar_and_label_is_there() {
        let plot = Plot {
            title: String::from("a < b"),
            vertical: String::from("MB/s"),
            horizontal: String::from("direction"),
            series: vec![String::from("x"), String::from("y")],
            groups: vec![(String::from("push"), vec![(0, 10.0), (1, 5.0)])],
        };
        let svg = plot.svg();
        assert!(svg.contains("a &lt; b") && svg.contains("MB/s") && svg.contains("direction"));
        // The background, two of the legend and two bars.
        assert_eq!(svg.matches("<rect").count(), 5, "{svg}");
    }
}
