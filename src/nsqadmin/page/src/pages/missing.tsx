// An address that belongs to no page.

import { pathOf } from '../lib/router';
import { Link } from '../ui/link';
import { Empty } from '../ui/notice';
import { Page } from '../ui/page';

export function MissingPage({ path }: { path: string }) {
  return (
    <Page name="Not found">
      <Empty icon="search" title={`There is no page at ${path}.`}>
        <p>
          <Link href={pathOf.topics()}>All topics</Link> ·{' '}
          <Link href={pathOf.nodes()}>All nodes</Link>
        </p>
      </Empty>
    </Page>
  );
}
