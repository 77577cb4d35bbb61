"""Neurons without a reset (a spike is an upward crossing): equations, published parameters and the stored runs.

Membranes given per area (uF/cm2, mS/cm2, uA/cm2) have the same numbers in pF, nS, pA: only the ratios enter.
"""

from __future__ import annotations

import numpy as np
from exact import Case, Model


def ratio(x, scale):
    """x / (1 - exp(-x / scale)), smooth at 0: the rate that is singular as written."""
    z = x / scale
    return scale * (1.0 + z / 2.0 + z * z / 12.0) if abs(z) < 1e-6 else x / -np.expm1(-z)


def gate(x, alpha, beta):
    return alpha * (1.0 - x) - beta * x


def steady(alpha, beta):
    return alpha / (alpha + beta)


# ---------------------------------------------------------------- Hodgkin and Huxley 1952
def hh_rates(v):
    return {
        "m": (0.1 * ratio(v + 40.0, 10.0), 4.0 * np.exp(-(v + 65.0) / 18.0)),
        "h": (0.07 * np.exp(-(v + 65.0) / 20.0), 1.0 / (1.0 + np.exp(-(v + 35.0) / 10.0))),
        "n": (0.01 * ratio(v + 55.0, 10.0), 0.125 * np.exp(-(v + 65.0) / 80.0)),
    }


def traub_rates(v, V_T):
    x = v - V_T
    return {
        "m": (0.32 * ratio(x - 13.0, 4.0), 0.28 * ratio(40.0 - x, 5.0)),
        "h": (0.128 * np.exp((17.0 - x) / 18.0), 4.0 / (1.0 + np.exp((40.0 - x) / 5.0))),
        "n": (0.032 * ratio(x - 15.0, 5.0), 0.5 * np.exp((10.0 - x) / 40.0)),
    }


def mhn(rates):
    def rhs(t, y, I, p):
        v, m, h, n = y
        r = rates(v, p)
        current = p["g_L"] * (p["E_L"] - v) + p["g_Na"] * m**3 * h * (p["E_Na"] - v) + p["g_K"] * n**4 * (p["E_K"] - v)
        return (current + I) / p["C"], gate(m, *r["m"]), gate(h, *r["h"]), gate(n, *r["n"])

    return rhs


def mhn_start(rates, v0):
    return lambda p: (v0(p), *(steady(*r) for r in rates(v0(p), p).values()))


UNITS = dict(C="pF", g_L="nS", g_Na="nS", g_K="nS", E_L="mV", E_Na="mV", E_K="mV", v="mV", m="1", h="1", n="1", I="pA")
MHN = "C v' = g_L (E_L - v) + g_Na m^3 h (E_Na - v) + g_K n^4 (E_K - v) + I;  x' = alpha_x (1 - x) - beta_x x;  "


def crossing(level):
    return lambda y, p: y[0] - level


HH = Model(
    "hh1952",
    MHN + "a_m = .1 (v+40)/(1-exp(-(v+40)/10)), b_m = 4 exp(-(v+65)/18), a_h = .07 exp(-(v+65)/20), "
    "b_h = 1/(1+exp(-(v+35)/10)), a_n = .01 (v+55)/(1-exp(-(v+55)/10)), b_n = .125 exp(-(v+65)/80); "
    "spike: v rises through 0 mV; start: v = -65, gates steady there",
    "Hodgkin & Huxley 1952, 10.1113/jphysiol.1952.sp004764, rest moved to -65 mV",
    ("v", "m", "h", "n"),
    UNITS,
    mhn(lambda v, p: hh_rates(v)),
    crossing(0.0),
    initial=mhn_start(lambda v, p: hh_rates(v), lambda p: -65.0),
)

TRAUB = Model(
    "traub_miles",
    MHN + "x = v - V_T: a_m = .32 (13-x)/(exp((13-x)/4)-1), b_m = .28 (x-40)/(exp((x-40)/5)-1), "
    "a_h = .128 exp((17-x)/18), b_h = 4/(1+exp((40-x)/5)), a_n = .032 (15-x)/(exp((15-x)/5)-1), "
    "b_n = .5 exp((10-x)/40); spike: v rises through -20 mV; start: v = E_L, gates steady there",
    "Traub & Miles 1991 as in Brette et al. 2007, 10.1007/s10827-007-0038-6 (COBAHH)",
    ("v", "m", "h", "n"),
    {**UNITS, "V_T": "mV"},
    mhn(lambda v, p: traub_rates(v, p["V_T"])),
    crossing(-20.0),
    initial=mhn_start(lambda v, p: traub_rates(v, p["V_T"]), lambda p: p["E_L"]),
)


def wb_rates(v):
    return {
        "m": (0.1 * ratio(v + 35.0, 10.0), 4.0 * np.exp(-(v + 60.0) / 18.0)),
        "h": (0.07 * np.exp(-(v + 58.0) / 20.0), 1.0 / (1.0 + np.exp(-0.1 * (v + 28.0)))),
        "n": (0.01 * ratio(v + 34.0, 10.0), 0.125 * np.exp(-(v + 44.0) / 80.0)),
    }


def wb_rhs(t, y, I, p):
    v, h, n = y
    r = wb_rates(v)
    m = steady(*r["m"])
    current = p["g_L"] * (p["E_L"] - v) + p["g_Na"] * m**3 * h * (p["E_Na"] - v) + p["g_K"] * n**4 * (p["E_K"] - v)
    return (current + I) / p["C"], p["phi"] * gate(h, *r["h"]), p["phi"] * gate(n, *r["n"])


WB = Model(
    "wang_buzsaki",
    "C v' = g_L (E_L - v) + g_Na m_inf^3 h (E_Na - v) + g_K n^4 (E_K - v) + I;  x' = phi (a_x (1 - x) - b_x x); "
    "a_m = .1 (v+35)/(1-exp(-(v+35)/10)), b_m = 4 exp(-(v+60)/18), a_h = .07 exp(-(v+58)/20), "
    "b_h = 1/(1+exp(-.1(v+28))), a_n = .01 (v+34)/(1-exp(-(v+34)/10)), b_n = .125 exp(-(v+44)/80); "
    "spike: v rises through 0 mV; start: v = -65, h and n steady there",
    "Wang & Buzsaki 1996, 10.1523/JNEUROSCI.16-20-06402.1996",
    ("v", "h", "n"),
    {**UNITS, "phi": "1"},
    wb_rhs,
    crossing(0.0),
    initial=lambda p: (-65.0, steady(*wb_rates(-65.0)["h"]), steady(*wb_rates(-65.0)["n"])),
)

# ---------------------------------------------------------------- planar and bursting
FHN = Model(
    "fitzhugh_nagumo",
    "v' = v - v^3/3 - w + I;  w' = (v + a - b w) / tau;  spike: v rises through 1",
    "FitzHugh 1961, 10.1016/S0006-3495(61)86902-6",
    ("v", "w"),
    dict(a="1", b="1", tau="ms", v="1", w="1", I="1"),
    lambda t, y, I, p: (y[0] - y[0] ** 3 / 3.0 - y[1] + I, (y[0] + p["a"] - p["b"] * y[1]) / p["tau"]),
    crossing(1.0),
    initial=lambda p: (-1.1994080352440348, -0.6242600440550434),
)


def ml_w(v, p):
    return 0.5 * (1.0 + np.tanh((v - p["V3"]) / p["V4"]))


def ml_rhs(t, y, I, p):
    v, w = y
    m = 0.5 * (1.0 + np.tanh((v - p["V1"]) / p["V2"]))
    current = p["g_L"] * (p["V_L"] - v) + p["g_Ca"] * m * (p["V_Ca"] - v) + p["g_K"] * w * (p["V_K"] - v)
    return (current + I) / p["C"], p["phi"] * np.cosh((v - p["V3"]) / (2.0 * p["V4"])) * (ml_w(v, p) - w)


ML = Model(
    "morris_lecar",
    "C v' = g_L (V_L - v) + g_Ca m_inf (V_Ca - v) + g_K w (V_K - v) + I;  w' = phi cosh((v-V3)/(2 V4)) (w_inf - w); "
    "m_inf = (1 + tanh((v-V1)/V2))/2, w_inf = (1 + tanh((v-V3)/V4))/2; spike: v rises through 0 mV; start: v = -60, "
    "w = w_inf(-60)",
    "Morris & Lecar 1981, 10.1016/S0006-3495(81)84782-0; sets of Rinzel & Ermentrout 1998",
    ("v", "w"),
    dict(
        C="pF",
        g_L="nS",
        g_Ca="nS",
        g_K="nS",
        V_L="mV",
        V_Ca="mV",
        V_K="mV",
        V1="mV",
        V2="mV",
        V3="mV",
        V4="mV",
        phi="1/ms",
        v="mV",
        w="1",
        I="pA",
    ),
    ml_rhs,
    crossing(0.0),
    initial=lambda p: (-60.0, ml_w(-60.0, p)),
)

HR = Model(
    "hindmarsh_rose",
    "x' = y - a x^3 + b x^2 - z + I;  y' = c - d x^2 - y;  z' = r (s (x - x_R) - z);  "
    "spike: x rises through 1; start: (-1.6, -11.8, 0)",
    "Hindmarsh & Rose 1984, 10.1098/rspb.1984.0024",
    ("x", "y", "z"),
    dict(a="1", b="1", c="1", d="1", r="1/ms", s="1", x_R="1", x="1", y="1", z="1", I="1"),
    lambda t, y, I, p: (
        y[1] - p["a"] * y[0] ** 3 + p["b"] * y[0] ** 2 - y[2] + I,
        p["c"] - p["d"] * y[0] ** 2 - y[1],
        p["r"] * (p["s"] * (y[0] - p["x_R"]) - y[2]),
    ),
    crossing(1.0),
    initial=lambda p: (-1.6, 1.0 - 5.0 * 1.6**2, 0.0),
)


def all_cases():
    hh = dict(C=1.0, g_Na=120.0, g_K=36.0, g_L=0.3, E_Na=50.0, E_K=-77.0, E_L=-54.387)
    traub = dict(C=200.0, g_L=10.0, g_Na=20000.0, g_K=6000.0, E_L=-60.0, E_Na=50.0, E_K=-90.0, V_T=-63.0)
    wb = dict(C=1.0, g_L=0.1, g_Na=35.0, g_K=9.0, E_L=-65.0, E_Na=55.0, E_K=-90.0, phi=5.0)
    ml = dict(C=20.0, g_L=2.0, g_K=8.0, V_L=-60.0, V_Ca=120.0, V_K=-84.0, V1=-1.2, V2=18.0)
    hopf = ml | dict(g_Ca=4.4, V3=2.0, V4=30.0, phi=0.04)
    snic = ml | dict(g_Ca=4.0, V3=12.0, V4=17.4, phi=0.0667)
    hr = dict(a=1.0, b=3.0, c=1.0, d=5.0, r=0.006, s=4.0, x_R=-1.6)

    def step(at, value, until=None):
        return [(0.0, 0.0), (at, value)] + ([(until, 0.0)] if until else [])

    cases = {f"hh1952_{i}": Case(HH, hh, step(10.0, float(i), 90.0), 100.0) for i in (3, 7, 10, 20)}
    cases |= {
        f"traub_miles_{i}pA": Case(
            TRAUB, traub, step(30.0, float(i), 130.0), 150.0, note="fires by itself at 13.9 Hz: 72.18 ms at I = 0"
        )
        for i in (0, 100, 200, 500)
    }
    cases |= {
        f"wang_buzsaki_{n}": Case(WB, wb, step(10.0, i, 90.0), 100.0) for n, i in (("0p5", 0.5), ("1", 1.0), ("3", 3.0))
    }
    cases |= {
        "fitzhugh_nagumo_0p5": Case(FHN, dict(a=0.7, b=0.8, tau=12.5), step(10.0, 0.5), 200.0),
        "morris_lecar_hopf_80": Case(ML, hopf, step(20.0, 80.0), 300.0),
        "morris_lecar_hopf_100": Case(ML, hopf, step(20.0, 100.0), 400.0),
        "morris_lecar_snic_35": Case(ML, snic, step(20.0, 35.0), 300.0),
        "morris_lecar_snic_45": Case(ML, snic, step(20.0, 45.0), 400.0),
        "hindmarsh_rose_2": Case(HR, hr, [(0.0, 2.0)], 400.0),
        "hindmarsh_rose_4": Case(HR, hr, [(0.0, 4.0)], 200.0),
    }
    return cases
