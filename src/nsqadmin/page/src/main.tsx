// Starts the page: theme first, so that nothing is painted in the wrong colours.

import { type ComponentChildren, render } from 'preact';
import { startKeys } from './lib/keys';
import { type Route, parseRoute, startRouter, usePath } from './lib/router';
import { startTheme } from './lib/theme';
import { ChannelPage } from './pages/channel';
import { CounterPage } from './pages/counter';
import { HealthPage } from './pages/health';
import { LookupPage } from './pages/lookup';
import { MissingPage } from './pages/missing';
import { NodePage } from './pages/node';
import { NodesPage } from './pages/nodes';
import { TopicPage } from './pages/topic';
import { TopicsPage } from './pages/topics';
import { Asked } from './ui/confirm';
import { Shell } from './ui/shell';
import { Publishing } from './ui/publish';
import { Toasts } from './ui/toast';

function pageOf(route: Route): ComponentChildren {
  switch (route.page) {
    case 'topics':
      return <TopicsPage />;
    case 'topic':
      return <TopicPage key={route.topic} topic={route.topic} />;
    case 'channel':
      return <ChannelPage key={`${route.topic}:${route.channel}`} {...route} />;
    case 'nodes':
      return <NodesPage />;
    case 'node':
      return <NodePage key={route.node} node={route.node} />;
    case 'counter':
      return <CounterPage />;
    case 'lookup':
      return <LookupPage />;
    case 'health':
      return <HealthPage />;
    case 'missing':
      return <MissingPage path={route.path} />;
  }
}

function App() {
  const route = parseRoute(usePath());
  return (
    <>
      <Shell page={route.page}>{pageOf(route)}</Shell>
      <Asked />
      <Publishing />
      <Toasts />
    </>
  );
}

startTheme();
document.addEventListener('DOMContentLoaded', () => {
  startRouter();
  startKeys();
  render(<App />, document.body);
});
