//! A bar chart as SVG: a bar for each chain's median, a whisker for its range.

use std::fmt::Write;

use crate::spread::Spread;

const WIDTH: f64 = 860.0;
const NAMES: f64 = 210.0;
const BARS: f64 = 540.0;
const ROW: f64 = 26.0;
const TOP: f64 = 56.0;

/// Draws it. Colours are for a light and for a dark page.
pub fn draw(title: &str, below: &str, bars: &[(String, Spread)]) -> String {
    let most = bars.iter().map(|(_, spread)| spread.most).fold(1.0, f64::max);
    let x = |figure: f64| NAMES + figure / most * BARS;
    let mut rows = String::new();
    let mut y = TOP;
    for (name, spread) in bars {
        let is_ours = name.starts_with("gateway") || name.starts_with("native");
        let class = if is_ours { "ours" } else { "other" };
        let (middle, label) = (y + 9.0, y + 13.0);
        let _ = write!(
            rows,
            r#"<text x="{names}" y="{label}" text-anchor="end">{name}</text>
<rect class="{class}" x="{NAMES}" y="{y}" width="{width:.1}" height="18" rx="2"/>
<path class="range" d="M{least:.1} {middle}H{greatest:.1}M{least:.1} {low}V{high}M{greatest:.1} {low}V{high}"/>
<text x="{figure:.1}" y="{label}">{median:.0}</text>
"#,
            names = NAMES - 8.0,
            width = x(spread.median) - NAMES,
            least = x(spread.least),
            greatest = x(spread.most),
            low = middle - 4.0,
            high = middle + 4.0,
            figure = x(spread.most) + 8.0,
            median = spread.median,
        );
        y += ROW;
    }
    let (height, foot) = (y + 34.0, y + 18.0);
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">
<style>
svg {{ font: 13px system-ui, sans-serif; color-scheme: light dark; }}
text {{ fill: light-dark(#1f2328, #e6edf3); }}
.title {{ font-weight: 600; font-size: 15px; }}
.foot {{ font-size: 11px; opacity: .7; }}
.ours {{ fill: light-dark(#1f6feb, #388bfd); }}
.other {{ fill: light-dark(#afb8c1, #6e7681); }}
.range {{ stroke: light-dark(#1f2328, #e6edf3); stroke-width: 1.2; opacity: .7; }}
</style>
<text class="title" x="16" y="28">{title}</text>
{rows}<text class="foot" x="16" y="{foot}">{below}; bars are medians, whiskers the range of the rounds</text>
</svg>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_the_width() {
        let spread = |median| Spread { least: median, median, most: median };
        let svg =
            draw("t", "m", &[("envoy".into(), spread(50.0)), ("gateway".into(), spread(100.0))]);
        assert!(svg.contains(r#"class="other" x="210" y="56" width="270.0""#), "{svg}");
        assert!(svg.contains(r#"class="ours" x="210" y="82" width="540.0""#), "{svg}");
    }
}
