import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { desktop, faults, phone } from './browser';
import { stage } from './stage';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

interface Violation {
  id: string;
  impact: string | null;
  help: string;
  nodes: { target: string[]; failureSummary?: string }[];
}

/** What axe found that is not serious: each story says what it makes of it. */
export const slight = new Set<string>();
export let looks = 0;

export interface Look {
  guide?: 'light' | 'dark' | 'phone'; // which of the four goes into the guide
  once?: boolean; // only on a desktop, in light: what is in the way elsewhere
}

/**
 * look looks at a page as it stands, in both widths and both themes: a picture of each, no
 * violation of accessibility, nothing that is wider than the screen, nothing run that
 * somebody put into a row or a name.
 */
export async function look(page: Page, name: string, how: Look = {}): Promise<void> {
  mkdirSync(stage.shots, { recursive: true });
  for (const size of how.once ? [desktop] : [desktop, phone]) {
    for (const colorScheme of how.once ? (['light'] as const) : (['light', 'dark'] as const)) {
      await page.setViewportSize(size);
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await still(page);
      const at = `${name}-${size.width}-${colorScheme}`;
      await page.screenshot({ path: join(stage.shots, at + '.png') });
      const guide = how.guide && (how.guide === 'phone' ? size === phone && colorScheme === 'light' : size === desktop && colorScheme === how.guide);
      if (guide && stage.guide) await draw(page, name, size);
      await judge(page, at);
      looks++;
    }
  }
  await page.setViewportSize(desktop);
  await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
}

/** draw takes a picture for the guide: smaller, so that it stays a small file. */
async function draw(page: Page, name: string, size: typeof desktop): Promise<void> {
  if (size === desktop) await page.setViewportSize({ width: 1040, height: 480 });
  await still(page);
  await page.screenshot({ path: join(stage.guide, name + '.png') });
  await page.setViewportSize(size);
  await still(page);
}

/** still waits until nothing moves any more. */
async function still(page: Page): Promise<void> {
  await page.evaluate(async () => {
    const frame = () => new Promise((r) => requestAnimationFrame(r));
    await frame();
    await Promise.race([Promise.allSettled(document.getAnimations().map((a) => a.finished)), new Promise((r) => setTimeout(r, 2_000))]);
    await frame();
  });
  await page.waitForTimeout(150);
}

async function judge(page: Page, at: string): Promise<void> {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const run = (globalThis as unknown as { axe: { run: (d: Document, o: object) => Promise<{ violations: unknown[] }> } }).axe;
    const r = await run.run(document, { resultTypes: ['violations'] });
    return r.violations as Violation[];
  });
  for (const v of found) {
    const first = v.nodes[0];
    const words = `axe ${v.impact} ${v.id} (${v.help}), ${v.nodes.length}×, first ${first?.target.join(' ')}`;
    if (v.impact === 'serious' || v.impact === 'critical') faults.push(`${at}: ${words}: ${first?.failureSummary?.split('\n').slice(1, 3).join(' ')}`);
    else slight.add(`${at.replace(/-\d+-\w+$/, '')}: ${words}`);
  }
  const state = await page.evaluate(() => ({
    ran: (window as unknown as { ran?: string }).ran,
    images: document.querySelectorAll('img[src="x"]').length,
    wide: document.documentElement.scrollWidth - window.innerWidth,
    cards: Array.from(document.querySelectorAll('.cards')).map((t) => t.scrollWidth - (t.parentElement?.clientWidth ?? 0)),
    inside: Array.from(document.querySelectorAll('main')).map((m) => m.scrollWidth - m.clientWidth),
  }));
  if (state.ran !== undefined || state.images > 0) faults.push(`${at}: a stored script ran, or became part of the page`);
  if (page.viewportSize()?.width === phone.width && state.cards.some((w) => w > 0)) faults.push(`${at}: a table must be scrolled sideways`);
  if (state.wide > 0 || state.inside.some((w) => w > 0)) faults.push(`${at}: it is wider than the screen by ${Math.max(state.wide, ...state.inside)} pixels`);
}
