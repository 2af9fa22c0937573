// Finds AWS's SDK beside this file for modules whose own folders do not have it.
export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    if (!/^@(aws-sdk|smithy)\//.test(specifier)) throw error;
    return next(specifier, { ...context, parentURL: import.meta.url });
  }
}
