// Runs the scenarios, each in windows of its own, and says how each went.
// Names on the command line choose some of them.
import * as actions from './actions.mjs';
import { launch } from './browser.mjs';
import * as crafted from './crafted.mjs';
import * as failures from './failures.mjs';
import * as looks from './looks.mjs';
import * as pages from './pages.mjs';
import { furnish } from './world.mjs';

const { hanging, killed, alone } = failures;
/** What only looks runs side by side. Then come actions, then what ends nodes, then nsqadmin's end. */
const STAGES = [
  [{ ...pages, ...crafted }, looks],
  [actions],
  [{ hanging }],
  [{ killed }],
  [{ alone }],
];

const wanted = process.argv.slice(2);
let passed = 0;
let failed = 0;

/** A browser whose windows are closed when their scenario is over, however it ended. */
function windowsOf(browser) {
  const contexts = [];
  const newContext = async (options) => {
    const context = await browser.newContext(options);
    contexts.push(context);
    return context;
  };
  const close = () => Promise.all(contexts.map((context) => context.close()));
  return { newContext, close };
}

async function run(browser, name, scenario) {
  const windows = windowsOf(browser);
  const start = performance.now();
  const seconds = () => `${((performance.now() - start) / 1000).toFixed(1)} s`;
  try {
    await scenario(windows);
    passed += 1;
    console.log(`ok   ${name} (${seconds()})`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name} (${seconds()})\n${error.stack}`);
  }
  await windows.close();
}

async function runAll(browser, scenarios) {
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (wanted.length === 0 || wanted.includes(name)) await run(browser, name, scenario);
  }
}

await furnish();
const browser = await launch();
for (const stage of STAGES) {
  await Promise.all(stage.map((scenarios) => runAll(browser, scenarios)));
}
await browser.close();
console.log(`${passed} scenarios passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
