// @ts-check
/** A typedoc plugin: modules are called as they are imported (`@nestvm/devices/platform`), not as their files are. */
import { Converter } from 'typedoc';
import { entryPoints, root, workspaceMembers } from './workspace.mjs';

/** Source file of each entry point, from the root → import name. */
const names = new Map(
  workspaceMembers.flatMap((member) =>
    [...entryPoints(member)].map(([subpath, file]) => /** @type {const} */ ([file, `${member.name}${subpath.slice(1)}`])),
  ),
);

/** @param {import('typedoc').Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, (context) => {
    for (const module of context.project.children ?? []) {
      const file = module.sources?.[0]?.fullFileName.slice(root.length);
      module.name = names.get(file ?? '') ?? module.name;
    }
  });
}
