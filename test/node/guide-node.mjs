import './ws-global.mjs';

import { run } from './guide-scenario.mjs';
import { options, report } from './report.mjs';

await run(options, report);
