/**
 * What every template must keep, whoever writes it: the promises as CloudFormation Guard rules, which fail the synthesis, beside AWS's own rules and
 * cdk-nag's. Registered once, for the app and for tests alike.
 */
import { type App, CloudFormationValidatePlugin, Validations } from "aws-cdk-lib";
import { AwsSolutionsChecks } from "cdk-nag";

const GUARD = `
let topics = Resources.*[ Type == 'AWS::MSK::Topic' ]
rule topics_have_three_replicas when %topics !empty {
  %topics.Properties.ReplicationFactor == 3 <<events live on three brokers>>
}
rule topics_outlive_their_stack when %topics !empty {
  %topics.DeletionPolicy == 'Retain' <<no template deletes events>>
}

let clusters = Resources.*[ Type == 'AWS::MSK::Cluster' ]
rule kafka_is_closed when %clusters !empty {
  %clusters.Properties.EncryptionInfo.EncryptionInTransit.ClientBroker == 'TLS' <<clients talk TLS>>
  %clusters.Properties.EncryptionInfo.EncryptionInTransit.InCluster == true <<brokers talk TLS>>
  %clusters.Properties.EncryptionInfo.EncryptionAtRest.DataVolumeKMSKeyId exists <<own key at rest>>
  %clusters.Properties.ClientAuthentication.Unauthenticated.Enabled == false <<nobody without a name>>
  %clusters.Properties.BrokerNodeGroupInfo.ConnectivityInfo.PublicAccess.Type == 'DISABLED' <<nothing public>>
}

let databases = Resources.*[ Type == 'AWS::RDS::DBInstance' ]
rule databases_are_closed when %databases !empty {
  %databases.Properties.StorageEncrypted == true <<encrypted at rest>>
  %databases.Properties.PubliclyAccessible == false <<nothing public>>
  %databases.Properties.BackupRetentionPeriod >= 7 <<a week of backups at least>>
}

let caches = Resources.*[ Type == 'AWS::ElastiCache::ReplicationGroup' ]
rule caches_are_closed when %caches !empty {
  %caches.Properties.TransitEncryptionEnabled == true <<TLS>>
  %caches.Properties.AtRestEncryptionEnabled == true <<encrypted at rest>>
  %caches.Properties.UserGroupIds !empty <<users, not one password for all>>
}

let volumes = Resources.*[ Type == 'AWS::EC2::Volume' ]
rule volumes_are_encrypted when %volumes !empty {
  %volumes.Properties.Encrypted == true <<encrypted at rest>>
  %volumes.Properties.KmsKeyId exists <<own key>>
}

let buckets = Resources.*[ Type == 'AWS::S3::Bucket' ]
rule buckets_are_closed when %buckets !empty {
  %buckets.Properties.PublicAccessBlockConfiguration.BlockPublicPolicy == true <<nothing public>>
  %buckets.Properties.PublicAccessBlockConfiguration.RestrictPublicBuckets == true <<nothing public>>
  %buckets.Properties.BucketEncryption exists <<encrypted at rest>>
}

let groups = Resources.*[ Type == 'AWS::Logs::LogGroup' ]
rule logs_end_and_are_encrypted when %groups !empty {
  %groups.Properties.RetentionInDays exists <<no log grows for ever>>
  %groups.Properties.KmsKeyId exists <<own key>>
}

let balancers = Resources.*[ Type == 'AWS::ElasticLoadBalancingV2::LoadBalancer' ]
rule balancers_are_internal when %balancers !empty {
  %balancers.Properties.Scheme == 'internal' <<nothing public>>
}

let experiments = Resources.*[ Type == 'AWS::FIS::ExperimentTemplate' ]
rule experiments_end when %experiments !empty {
  %experiments.Properties.StopConditions[*].Source == 'aws:cloudwatch:alarm' <<what is broken on purpose stops when somebody would be woken>>
  %experiments.Properties.LogConfiguration exists <<and says what it did>>
}

let replicators = Resources.*[ Type == 'AWS::MSK::Replicator' ]
rule replicators_name_their_topics when %replicators !empty {
  %replicators.Properties.ReplicationInfoList[*].TopicReplication.TopicsToReplicate[*] != '.*' <<no topic goes abroad unasked>>
  %replicators.Properties.ReplicationInfoList[*].TopicReplication.DetectAndCopyNewTopics == false <<nor a later one>>
}

let alarms = Resources.*[ Type == 'AWS::CloudWatch::Alarm' ]
rule alarms_act when %alarms !empty {
  %alarms.Properties.AlarmActions !empty <<an alarm that tells nobody is none>>
}
`;

export function addChecks(app: App): void {
  Validations.of(app).addPlugins(
    new CloudFormationValidatePlugin({ guardRules: [{ name: "promises", content: GUARD }] }),
    new AwsSolutionsChecks(app, { verbose: true }),
  );
}
