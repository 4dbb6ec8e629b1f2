import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Page } from 'playwright-core';
import { faults, open, person, start, stop } from './browser';
import { password } from './cast';
import { stage } from './stage';

beforeAll(start);
afterAll(stop);

const figure = (what: string, n: number, unit = 'ms') => console.log(`FIGURE ${what}: ${Math.round(n)} ${unit}`);
const median = (list: number[]) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? NaN;

/**
 * took is the time from an input to the frame that shows what it asked for, by the page's
 * own clock: no order of ours is in it.
 */
async function took(page: Page, act: string, shows: string): Promise<number> {
  return page.evaluate(
    async ([act, shows]) => {
      const frame = () => new Promise((r) => requestAnimationFrame(r));
      const ready = new Function(`return ${shows}`) as () => boolean;
      const begin = performance.now();
      new Function(act)();
      while (!ready()) {
        await frame();
        if (performance.now() - begin > 20_000) throw new Error(`not shown: ${shows}`);
      }
      await frame();
      return performance.now() - begin;
    },
    [act, shows] as const,
  );
}

test('a fleet of thousands is there, searched, sorted and scrolled', async () => {
  const { page } = await person();
  await open(page, stage.setup.slice(stage.setup.indexOf('#')));
  await page.getByLabel('Name', { exact: true }).fill('Ana');
  await page.getByLabel('Password', { exact: true }).fill(password);
  await page.getByLabel('Password, again').fill(password);
  await page.getByRole('button', { name: 'Set up' }).click();
  await page.getByRole('heading', { name: 'Ana' }).waitFor();

  const paints: number[] = [];
  const rows: number[] = [];
  await page.addInitScript(() => {
    const w = window as unknown as { rowsAt?: number };
    new MutationObserver((_, o) => {
      if (document.querySelector('.devices .rows .device')) {
        o.disconnect();
        requestAnimationFrame(() => (w.rowsAt = performance.now()));
      }
    }).observe(document, { subtree: true, childList: true });
  });
  for (let i = 0; i < 7; i++) {
    await page.goto('about:blank');
    await open(page, '#/fleet');
    await page.waitForFunction(() => (window as unknown as { rowsAt?: number }).rowsAt !== undefined);
    const t = await page.evaluate(() => ({
      paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN,
      rows: (window as unknown as { rowsAt: number }).rowsAt,
    }));
    paints.push(t.paint);
    rows.push(t.rows);
  }
  figure('first contentful paint, median of 7', median(paints));
  figure('first rows, median of 7', median(rows));
  const table = page.getByRole('table', { name: 'Devices' });
  const total = Number(await table.getAttribute('aria-rowcount')) - 1;
  figure('devices in the table', total, '');
  figure('rows in the page', await table.getByRole('row').count(), '');

  const keys = await took(page, `document.activeElement?.blur(); for (const type of ['keydown', 'keyup']) document.dispatchEvent(new KeyboardEvent(type, {key: 'j', bubbles: true}))`, `!!document.querySelector('.device[data-at]')`);
  figure('a key moves the cursor', keys);
  const scrolls: number[] = [];
  for (let i = 1; i <= 10; i++) scrolls.push(await took(page, `document.getElementById('main').scrollTop = ${i * 3_000}`, `[...document.querySelectorAll('.devices .rows .device')].some(e => { const r = e.getBoundingClientRect(); return r.top > 200 && r.bottom < innerHeight })`));
  figure('a jump of 3000 pixels, median of 10', median(scrolls));
  await page.evaluate(() => document.getElementById('main')!.scrollTo(0, 0));

  const first = (name: string) => `document.querySelector('.devices .rows .device .who a')?.textContent === ${JSON.stringify(name)}`;
  figure('sorted by name, shown', await took(page, `location.hash = '#/fleet?sort=name'`, first('branch 000 till 00')));
  figure('turned round, shown', await took(page, `location.hash = '#/fleet?sort=-name'`, first('harbour kiosk')));
  figure('searched, shown', await took(page, `location.hash = '#/fleet?q=harbour+kiosk'`, `document.querySelectorAll('.devices .rows .device').length === 1 && ${first('harbour kiosk')}`));
  figure('filtered by level, shown', await took(page, `location.hash = '#/fleet?level=alarm'`, `document.querySelectorAll('.devices .rows .device').length > 1 && !!document.querySelector('.devices .rows .is-alarm')`));
  await page.getByRole('status').filter({ hasText: 'match' }).waitFor();
  expect(faults).toEqual([]);
  expect(total).toBeGreaterThan(1);
});
