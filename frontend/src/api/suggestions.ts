import { getJson, ordinalsPart, postFormForBuffer, type RequestOptions } from "./http";
import type { Proposal, Suggestions } from "./types";

export const fetchSuggestions = (api: string, projectId: string, options: RequestOptions = {}): Promise<Suggestions> =>
  getJson(`${api}/projects/${projectId}/suggestions`, options);

/** The objects of a proposal, in the order to show them. @param passed seen and left out before: not among them */
export async function fetchSuggestedPage(
  api: string,
  projectId: string,
  proposal: Pick<Proposal, "kind" | "class_value" | "group">,
  passed: Uint32Array,
  options: RequestOptions = {},
): Promise<Uint32Array> {
  const form = new FormData();
  form.set("kind", proposal.kind);
  if (proposal.class_value !== null) form.set("class_value", String(proposal.class_value));
  if (proposal.group !== null) form.set("group", String(proposal.group));
  if (passed.length > 0) form.set("ordinals", ordinalsPart(passed), "ordinals");
  return new Uint32Array(await postFormForBuffer(`${api}/projects/${projectId}/suggestions/page`, form, options));
}
