import 'uplot/dist/uPlot.min.css';
import { useEffect, useRef } from 'react';
import { useComputedColorScheme } from '@mantine/core';
import uPlot from 'uplot';
import { span } from '../../format/time';

/**
 * Spark is the tide line: the age of the fleet's oldest unsafe change over time. uPlot
 * paints on a canvas and knows nothing of themes, so its inks are read from the page's
 * own variables, anew when the theme changes.
 */
export default function Spark({ points, tone }: { points: { at: number; age: number }[]; tone: string }) {
  const box = useRef<HTMLDivElement>(null);
  const scheme = useComputedColorScheme();
  const data = useRef(points);
  const plot = useRef<uPlot>(undefined);
  useEffect(() => {
    const el = box.current;
    if (!el) return;
    const ink = (name: string) => getComputedStyle(el).getPropertyValue(name).trim();
    const u = new uPlot(options(el, ink, tone), columns(data.current), el);
    plot.current = u;
    const watch = new ResizeObserver(() => u.setSize({ width: el.clientWidth, height: el.clientHeight }));
    watch.observe(el);
    return () => {
      watch.disconnect();
      u.destroy();
      plot.current = undefined;
    };
  }, [scheme, tone]);
  useEffect(() => {
    data.current = points;
    plot.current?.setData(columns(points));
  }, [points]);
  return <div ref={box} className="spark" />;
}

function columns(points: { at: number; age: number }[]): uPlot.AlignedData {
  return [points.map((p) => p.at), points.map((p) => p.age)];
}

function options(el: HTMLElement, ink: (name: string) => string, tone: string): uPlot.Options {
  const axis = { stroke: ink('--dim'), font: '11px ' + getComputedStyle(el).fontFamily, grid: { show: false }, ticks: { show: false } };
  return {
    width: el.clientWidth,
    height: el.clientHeight,
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 4, 0, 0],
    scales: { y: { range: (_, __, max) => [0, Math.max(max, 60) * 1.1] } },
    axes: [
      { ...axis, size: 20, space: 90, values: (_, at) => at.map((s) => new Date(s * 1000).toTimeString().slice(0, 5)) },
      { ...axis, size: 58, space: 30, values: (_, vs) => vs.map((v) => (v === 0 ? '' : span(v * 1000))) },
    ],
    series: [{}, { stroke: ink(`--${tone}`), fill: ink(`--${tone}-tint`), width: 1.6, points: { show: false } }],
  };
}
