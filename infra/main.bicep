// Threadkeeper in Azure: Container Apps, PostgreSQL, a Foundry project, Azure Bot with Teams and Slack, one identity.
// Its outputs have the names of the bot's settings, so that `azd env get-values` is a .env.
targetScope = 'subscription'

@description('Names the resource group and tags everything in it; azd asks for it.')
@minLength(1)
@maxLength(48)
param environmentName string

@description('The region of everything that has one. It must offer the model.')
param location string

@description('Object id of whoever deploys: gets the role that `python -m bot agent push` needs. Empty: nobody does.')
param deployerId string = ''

@description('What the deployer is.')
@allowed(['User', 'Group', 'ServicePrincipal'])
param deployerType string = 'User'

@description('The bot\'s image. Empty at the first run: a stand-in, which azd deploy replaces.')
param image string = ''

@description('What the bot calls itself.')
@maxLength(30)
param botName string = 'Threadkeeper'

@description('Whom `help` names for problems.')
param supportContact string = ''

@description('Who may use the admin words: Entra object ids and Slack user ids, separated by commas.')
param admins string = ''

@description('Ids of the Slack teams that may talk to the bot (T...), separated by commas. People of this tenant always may.')
param slackTeams string = ''

@description('App id of an Entra app for the bot. Empty: the bot is its managed identity and has no secret.')
param botAppId string = ''

@description('The client secret of that app.')
@secure()
param botAppPassword string = ''

@description('The key to POST /api/say, at least 16 characters. Empty: there is no such address.')
@secure()
param sayApiKey string = ''

@description('Client id of the Slack app. Empty: no Slack channel.')
param slackClientId string = ''

@description('Client secret of the Slack app.')
@secure()
param slackClientSecret string = ''

@description('Signing secret of the Slack app.')
@secure()
param slackSigningSecret string = ''

@description('The model that the agent has, as the region\'s catalogue names it.')
param modelName string = 'gpt-5-mini'

@description('The model\'s version. Empty: the catalogue\'s default.')
param modelVersion string = ''

@description('Thousands of tokens a minute.')
@minValue(1)
param modelCapacity int = 50

@description('How many replicas there are at least. They share the work through the database.')
@minValue(1)
@maxValue(10)
param minReplicas int = 1

@description('How many replicas there are at most.')
@minValue(1)
@maxValue(10)
param maxReplicas int = 3

var tags = { 'azd-env-name': environmentName }
var token = toLower(uniqueString(subscription().id, environmentName, location))
var tenantId = tenant().tenantId
var ownApp = !empty(botAppId)
var appId = ownApp ? botAppId : identity.outputs.clientId
var appType = ownApp ? 'SingleTenant' : 'UserAssignedMSI'
var agentName = 'threadkeeper'

resource group 'Microsoft.Resources/resourceGroups@2024-11-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: { name: 'id-bot-${token}', location: location, tags: tags }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: { name: token, location: location, tags: tags }
}

module registry 'modules/registry.bicep' = {
  name: 'registry'
  scope: group
  params: { name: 'cr${token}', location: location, tags: tags, readerId: identity.outputs.principalId }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    name: 'kv-${token}'
    location: location
    tags: tags
    readerId: identity.outputs.principalId
    botAppPassword: botAppPassword
    sayApiKey: sayApiKey
  }
}

module database 'modules/database.bicep' = {
  name: 'database'
  scope: group
  params: {
    name: 'psql-${token}'
    location: location
    tags: tags
    identityName: identity.outputs.name
    identityPrincipalId: identity.outputs.principalId
  }
}

module foundry 'modules/foundry.bicep' = {
  name: 'foundry'
  scope: group
  params: {
    name: 'ai-${token}'
    location: location
    tags: tags
    modelName: modelName
    modelVersion: modelVersion
    modelCapacity: modelCapacity
    identityPrincipalId: identity.outputs.principalId
    deployerId: deployerId
    deployerType: deployerType
  }
}

module app 'modules/app.bicep' = {
  name: 'app'
  scope: group
  params: {
    name: 'bot-${token}'
    location: location
    tags: tags
    image: image
    minReplicas: minReplicas
    maxReplicas: maxReplicas
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    registryServer: registry.outputs.server
    logsName: monitoring.outputs.logsName
    vaultUri: vault.outputs.uri
    secretNames: vault.outputs.secretNames
    settings: {
      DATABASE_URL: database.outputs.url
      DATABASE_AUTH: 'entra'
      AGENT_BACKEND: 'foundry'
      AGENT_NAME: agentName
      PROJECT_ENDPOINT: foundry.outputs.projectEndpoint
      MODEL_DEPLOYMENT_NAME: foundry.outputs.modelDeployment
      MICROSOFT_APP_ID: appId
      MICROSOFT_APP_TYPE: appType
      MICROSOFT_APP_TENANT_ID: tenantId
      ALLOWED_TENANTS: empty(slackTeams) ? tenantId : '${tenantId},${slackTeams}'
      ADMINS: admins
      BOT_NAME: botName
      SUPPORT_CONTACT: supportContact
    }
  }
}

module bot 'modules/bot.bicep' = {
  name: 'bot'
  scope: group
  params: {
    name: 'bot-${token}'
    tags: tags
    displayName: botName
    endpoint: '${app.outputs.address}/api/messages'
    appId: appId
    appType: appType
    tenantId: tenantId
    identityId: ownApp ? '' : identity.outputs.id
    insightsName: monitoring.outputs.insightsName
    slackClientId: slackClientId
    slackClientSecret: slackClientSecret
    slackSigningSecret: slackSigningSecret
  }
}

// azd
output AZURE_LOCATION string = location
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_CONTAINER_REGISTRY_ENDPOINT string = registry.outputs.server

// the bot's settings, for commands that run beside it
output DATABASE_URL string = database.outputs.url
output DATABASE_AUTH string = 'entra'
output AGENT_BACKEND string = 'foundry'
output AGENT_NAME string = agentName
output PROJECT_ENDPOINT string = foundry.outputs.projectEndpoint
output MODEL_DEPLOYMENT_NAME string = foundry.outputs.modelDeployment
output MICROSOFT_APP_ID string = appId
output MICROSOFT_APP_TYPE string = appType
output MICROSOFT_APP_TENANT_ID string = tenantId
output BOT_NAME string = botName
output SUPPORT_CONTACT string = supportContact

@description('Where Azure Bot Service delivers.')
output BOT_ENDPOINT string = '${app.outputs.address}/api/messages'

@description('The name that the Slack app\'s events address ends in.')
output BOT_HANDLE string = bot.outputs.name
