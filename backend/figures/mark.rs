//! The mark and the colour of every role: the marks tell roles apart without colours, and the colours grow lighter from
//! role to role, so a grey print keeps their order.

use super::FigureError;
use super::colour::{BLACK, Rgb, WHITE};
use super::paint::Painter;
use super::sheet::{Pen, Sheet};
use crate::analysis::roles::Role;

/// Outline of a mark.
const EDGE: f32 = 0.4;
/// Corners of a round mark.
const ROUND: usize = 24;

/// A role's colour.
pub fn colour(role: Role) -> Rgb {
    match role {
        Role::Sink => [58, 9, 83],
        Role::Window => [13, 51, 163],
        Role::DoubleWindow => [17, 96, 152],
        Role::Gist => [15, 131, 73],
        Role::Content => [225, 92, 47],
        Role::Selector => [208, 130, 182],
        Role::FrontLoaded => [238, 165, 40],
        Role::Frozen => [146, 212, 219],
        Role::Mixed => [221, 221, 221],
        Role::NotEnoughEvidence => [249, 249, 249],
    }
}

/// Ink that is seen on a role's colour.
fn ink_on(role: Role) -> Rgb {
    let [r, g, b] = colour(role).map(f32::from);
    if 0.3 * r + 0.59 * g + 0.11 * b < 140.0 { WHITE } else { BLACK }
}

/// A role's outline around the origin, within one unit of it, y down.
fn outline(role: Role) -> Vec<[f32; 2]> {
    let turned = |corners: usize, turn: f32, radius: f32| {
        let at = |corner: usize| {
            let (sin, cos) = ((corner as f32 / corners as f32 + turn) * std::f32::consts::TAU).sin_cos();
            [radius * sin, -radius * cos]
        };
        (0..corners).map(at).collect::<Vec<_>>()
    };
    // A cross of arms as wide as a third of it.
    let plus = || {
        let (near, far) = (0.32, 0.95);
        let arm = [[near, near], [near, far], [-near, far], [-near, near]];
        let quarter = |turn: usize| {
            arm.into_iter().take(3).map(move |[x, y]| match turn {
                0 => [x, y],
                1 => [-y, x],
                2 => [-x, -y],
                _ => [y, -x],
            })
        };
        (0..4).flat_map(quarter).collect::<Vec<_>>()
    };
    match role {
        Role::Sink => turned(3, 0.5, 1.05),
        Role::Window => turned(4, 0.125, 1.1),
        Role::DoubleWindow => vec![[-0.85, -0.85], [0.85, -0.85], [-0.85, 0.85], [0.85, 0.85]],
        Role::Gist => turned(ROUND, 0.0, 0.9),
        Role::Content => turned(4, 0.0, 1.1),
        Role::Selector => turned(3, 0.0, 1.05),
        Role::FrontLoaded => turned(3, 0.75, 1.05),
        Role::Frozen => plus(),
        Role::Mixed => plus().into_iter().map(|[x, y]| [(x - y) * 0.75, (x + y) * 0.75]).collect(),
        Role::NotEnoughEvidence => turned(ROUND, 0.0, 0.9),
    }
}

fn placed(role: Role, [x, y]: [f32; 2], radius: f32) -> Vec<[f32; 2]> {
    outline(role).into_iter().map(|[dx, dy]| [x + radius * dx, y + radius * dy]).collect()
}

/// A role's mark in its colour, with a black edge.
///
/// # Errors
/// As all marks: when plotters refuses one.
pub fn draw<P: Painter>(sheet: &Sheet<'_, P>, role: Role, at: [f32; 2], radius: f32) -> Result<(), FigureError> {
    let mut corners = placed(role, at, radius);
    sheet.area(&corners, colour(role))?;
    corners.push(corners[0]);
    sheet.line(&corners, Pen { width: EDGE, rgb: BLACK })
}

/// A role's mark on a ground of its colour.
///
/// # Errors
/// As all marks.
pub fn draw_on_ground<P: Painter>(
    sheet: &Sheet<'_, P>,
    role: Role,
    at: [f32; 2],
    radius: f32,
) -> Result<(), FigureError> {
    let mut corners = placed(role, at, radius);
    if role == Role::NotEnoughEvidence {
        corners.push(corners[0]);
        return sheet.line(&corners, Pen { width: EDGE, rgb: ink_on(role) });
    }
    sheet.area(&corners, ink_on(role))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lightness L* of CIE 1976, of linear light as sRGB defines it.
    fn lightness(rgb: Rgb) -> f64 {
        let linear = rgb.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        let y = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
        116.0 * y.cbrt() - 16.0
    }

    #[test]
    fn roles_grow_lighter_in_order_and_each_step_can_be_seen() {
        let lightness = Role::ALL.map(|role| lightness(colour(role)));
        assert!(lightness.windows(2).all(|pair| pair[1] - pair[0] > 5.0), "{lightness:?}");
    }

    #[test]
    fn every_role_has_a_mark_of_its_own_of_about_one_size() {
        for role in Role::ALL {
            let reach = outline(role).iter().map(|[x, y]| x.hypot(*y)).fold(0.0, f32::max);
            assert!((0.85..=1.25).contains(&reach), "{role:?} {reach}");
            // Two are discs: one is filled with paper.
            let same = Role::ALL.into_iter().filter(|other| outline(*other) == outline(role));
            let discs = matches!(role, Role::Gist | Role::NotEnoughEvidence);
            assert_eq!(same.count(), if discs { 2 } else { 1 }, "{role:?}");
        }
    }
}
