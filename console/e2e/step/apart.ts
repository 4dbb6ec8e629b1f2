import { test } from 'vitest';
import type { Page } from 'playwright-core';
import { open } from '../browser';
import { cast } from '../cast';
import { look } from '../look';
import { agent, cut, mend, sql, until } from '../stage';

const phoneOf = (at: string, id: string) => sql(at, `SELECT phone FROM patient WHERE id='${id}'`);

/** seconds reads a length of time as the page tells it. */
function seconds(text: string): number {
  const units: Record<string, number> = { ms: 0.001, s: 1, min: 60, h: 3600, d: 86_400 };
  let sum = 0;
  for (const [, n, unit] of text.matchAll(/(\d+) (ms|s|min|h|d)\b/g)) sum += Number(n) * units[unit!]!;
  return sum;
}

async function deviceOf(page: Page, name: string) {
  await open(page, '#/fleet');
  await page.locator('.devices').getByRole('link', { name, exact: true }).click();
  await page.getByRole('heading', { name, exact: true }).waitFor();
}

export function apart() {
  test('both sides edit while the network is cut, and the age of unsafe work is seen to grow', async () => {
    const page = cast.bo;
    await deviceOf(page, 'Berlin');
    await page.getByText('connected', { exact: true }).first().waitFor();
    await cut();
    await page.getByText(/^seen /).first().waitFor();
    // Both change Ada's number and note, and Emil's allergies, which wait for a person.
    await sql('berlin', `UPDATE patient SET phone='030-5559911', note='prefers mornings, please call before nine' WHERE id='p1'; UPDATE patient SET allergies='nuts, penicillin' WHERE id='p2';`);
    await sql('oslo', `UPDATE patient SET phone='030-5557722', note='prefers late mornings, please call' WHERE id='p1'; UPDATE patient SET allergies='nuts, lactose' WHERE id='p2';`);
    await until('Oslo’s edit is at the hub', () => phoneOf('hub', 'p1'), (p) => p === '030-5557722');
    await until('Oslo’s second edit, too', () => sql('hub', `SELECT allergies FROM patient WHERE id='p2'`), (a) => a === 'nuts, lactose');

    await page.getByRole('button', { name: 'Pause' }).click();
    await page.getByLabel('Reason').fill('the line to Berlin is being mended');
    await look(page, 'device-pause');
    await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click();
    await page.getByText('paused', { exact: true }).first().waitFor();
    await mend();
    await agent('berlin'); // it calls, says what it holds, and is turned away
    await page.getByText(/Its oldest unsafe change is/).waitFor();
    await look(page, 'device-paused');

    await cast.ana.bringToFront();
    await open(cast.ana, '#/fleet');
    const age = cast.ana.locator('.headline .big strong');
    await cast.ana.getByText('is the age of the oldest change').waitFor();
    const first = seconds(await age.innerText());
    await until('the age grows, without a reload', async () => seconds(await age.innerText()), (s) => s > first, 90_000);
    await look(cast.ana, 'fleet-unsafe', { guide: 'light' });
  });

  test('and to go when the work arrives', async () => {
    const page = cast.bo;
    await page.getByRole('button', { name: 'Resume' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Resume' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await agent('berlin');
    await cast.ana.getByText('Everybody’s work is safe.').waitFor({ timeout: 90_000 });
    await page.getByText('Its work is safe, as it last said.').waitFor();
    await look(page, 'device', { guide: 'light' });
    await look(cast.ana, 'fleet-needs', { guide: 'dark' });
  });

  test('the conflict is read, what if is asked, and the undone value arrives at the device', async () => {
    const page = cast.ana;
    const was = await phoneOf('hub', 'p1');
    const [won, lost] = was === '030-5557722' ? ['030-5557722', '030-5559911'] : ['030-5559911', '030-5557722'];
    await until('Berlin has what stands', () => phoneOf('berlin', 'p1'), (p) => p === won);
    await page.getByRole('navigation', { name: 'Pages', exact: true }).getByRole('link', { name: /^Conflicts/ }).click();
    await page.getByRole('link', { name: /patient p1.*phone/s }).click();
    const ways = page.getByRole('group', { name: 'Base, theirs, ours, result' });
    for (const value of ['030-5550100', won!, lost!]) await ways.getByText(value).first().waitFor();
    await look(page, 'conflict');
    await page.getByRole('link', { name: /patient p1.*note/s }).click();
    await page.locator('.ways ins').first().waitFor();
    await look(page, 'conflict-words', { guide: 'light' });

    await open(page, '#/conflicts?tab=whatif&table=patient&policy=hub');
    await page.getByRole('region', { name: 'What would differ' }).waitFor();
    await look(page, 'conflicts-whatif');

    await open(page, '#/conflicts');
    await page.getByRole('link', { name: /patient p1.*phone/s }).click();
    await page.keyboard.press('u');
    await page.getByRole('dialog').getByText(lost!).waitFor();
    await look(page, 'conflict-undo');
    await page.getByRole('dialog').getByRole('button', { name: 'Undo' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.locator('.tag').getByText('undone', { exact: true }).first().waitFor();
    await page.getByText(/Undone by Ana|Undone by Bo/).waitFor();
    for (const at of ['berlin', 'oslo']) await until(`${at} has the undone value`, () => phoneOf(at, 'p1'), (p) => p === lost);
  });

  test('what waits for a person is decided by keyboard', async () => {
    const page = cast.ana;
    await open(page, '#/conflicts?tab=inbox');
    await page.getByRole('link', { name: /patient/ }).first().waitFor();
    await page.keyboard.press('j');
    await page.getByText('both changed it').first().waitFor();
    await look(page, 'inbox', { guide: 'light' });
    await page.keyboard.press('o');
    await page.getByRole('dialog').getByRole('button', { name: 'Take ours' }).click();
    await page.getByText('Nothing waits for a decision.').waitFor();
    for (const at of ['berlin', 'oslo']) await until(`${at} has the decision`, () => sql(at, `SELECT allergies FROM patient WHERE id='p2'`), (a) => a === 'nuts, penicillin');
  });

  test('what a rule decided is accepted, all at once', async () => {
    const page = cast.ana;
    await open(page, '#/conflicts?state=new');
    await page.getByRole('link', { name: /patient p1/ }).first().waitFor();
    await page.keyboard.press('X');
    await page.keyboard.press('a');
    await page.getByLabel('Reason (optional)').fill('both called Ada');
    await page.getByRole('dialog').getByRole('button', { name: 'Accept' }).click();
    await page.getByText(/^\d+ conflicts? accepted$/).waitFor();
    await page.getByText('No conflict matches.').waitFor();
  });
}
