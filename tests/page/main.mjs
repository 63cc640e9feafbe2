// Runs the scenarios one after the other, each in a window of its own, and says how each went.
// Names on the command line choose some of them.
import * as actions from './actions.mjs';
import { launch } from './browser.mjs';
import * as crafted from './crafted.mjs';
import * as failures from './failures.mjs';
import * as looks from './looks.mjs';
import * as pages from './pages.mjs';
import { furnish } from './world.mjs';

const { hanging, killed, alone } = failures;
/** What ends nodes comes last, and what ends nsqadmin after that. */
const ALL = { ...pages, ...crafted, ...looks, ...actions, hanging, killed, alone };

const wanted = process.argv.slice(2);
const chosen = Object.entries(ALL).filter(([name]) => wanted.length === 0 || wanted.includes(name));
await furnish();
const browser = await launch();
let failed = 0;
for (const [name, scenario] of chosen) {
  const start = performance.now();
  const seconds = () => `${((performance.now() - start) / 1000).toFixed(1)} s`;
  try {
    await scenario(browser);
    console.log(`ok   ${name} (${seconds()})`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name} (${seconds()})\n${error.stack}`);
    // What it left open would go on asking.
    for (const context of browser.contexts()) await context.close();
  }
}
await browser.close();
console.log(`${chosen.length - failed} of ${chosen.length} scenarios passed`);
process.exit(failed === 0 ? 0 : 1);
