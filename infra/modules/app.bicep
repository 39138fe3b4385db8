// The bot itself, in Container Apps: as many replicas as there are share the work through PostgreSQL.
param name string
param location string
param tags object

@description('Empty: a stand-in, until there is one.')
param image string
param minReplicas int
param maxReplicas int

@description('Resource id of the bot\'s identity.')
param identityId string
param identityClientId string
param registryServer string

@description('Name of the Log Analytics workspace.')
param logsName string
param vaultUri string

@description('The vault\'s secrets; each is the setting of that name in upper case.')
param secretNames array

@description('Settings of the bot that are no secrets. Empty ones are left out.')
param settings object

var port = 3978
var standIn = 'mcr.microsoft.com/azuredocs/containerapps-helloworld:latest'
var fixed = { HOST: '0.0.0.0', PORT: string(port), AZURE_CLIENT_ID: identityClientId }
var chosen = filter(items(union(settings, fixed)), setting => !empty(setting.value))
var plain = map(chosen, setting => { name: setting.key, value: setting.value })
var secret = map(secretNames, kept => { name: toUpper(replace(kept, '-', '_')), secretRef: kept })

resource logs 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = {
  name: logsName
}

resource host 'Microsoft.App/managedEnvironments@2026-01-01' = {
  name: 'cae-${name}'
  location: location
  tags: tags
  properties: {
    appLogsConfiguration: {
      destination: 'log-analytics'
      logAnalyticsConfiguration: {
        customerId: logs.properties.customerId
        sharedKey: logs.listKeys().primarySharedKey
      }
    }
  }
}

resource app 'Microsoft.App/containerApps@2026-01-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'bot' })
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    environmentId: host.id
    configuration: {
      activeRevisionsMode: 'Single'
      ingress: { external: true, targetPort: port, transport: 'http', allowInsecure: false }
      registries: [{ server: registryServer, identity: identityId }]
      secrets: map(secretNames, kept => {
        name: kept
        keyVaultUrl: '${vaultUri}secrets/${kept}'
        identity: identityId
      })
    }
    template: {
      // longer than the bot takes to end its turns or hand them over
      terminationGracePeriodSeconds: 45
      containers: [
        {
          name: 'bot'
          image: empty(image) ? standIn : image
          env: concat(plain, secret)
          resources: { cpu: json('0.5'), memory: '1Gi' }
          probes: [
            {
              type: 'Startup'
              httpGet: { path: '/healthz', port: port }
              periodSeconds: 5
              failureThreshold: 10
            }
            {
              type: 'Liveness'
              httpGet: { path: '/healthz', port: port }
              periodSeconds: 10
              timeoutSeconds: 5
              failureThreshold: 6
            }
            {
              type: 'Readiness'
              httpGet: { path: '/readyz', port: port }
              periodSeconds: 10
              timeoutSeconds: 5
            }
          ]
        }
      ]
      scale: {
        minReplicas: minReplicas
        maxReplicas: maxReplicas
        rules: [{ name: 'requests', http: { metadata: { concurrentRequests: '50' } } }]
      }
    }
  }
}

@description('https address of the app.')
output address string = 'https://${app.properties.configuration.ingress.fqdn}'
