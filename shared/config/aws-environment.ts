/** What the AWS runtimes (Lambda, ECS) put into every process's environment. */

export interface AwsEnvironment {
  readonly region: string | undefined;
  /** Of the function's role, in Lambda; they live longer than the process that gets them. ECS has a refreshing endpoint instead. */
  readonly credentials: AwsCredentials | undefined;
}

export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
  readonly expiration?: Date | undefined;
}

export function awsEnvironment(environment: Readonly<Record<string, string | undefined>> = process.env): AwsEnvironment {
  const { AWS_REGION, AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = environment;
  return {
    region: AWS_REGION ?? AWS_DEFAULT_REGION,
    credentials:
      AWS_ACCESS_KEY_ID === undefined || AWS_SECRET_ACCESS_KEY === undefined
        ? undefined
        : { accessKeyId: AWS_ACCESS_KEY_ID, secretAccessKey: AWS_SECRET_ACCESS_KEY, sessionToken: AWS_SESSION_TOKEN },
  };
}
