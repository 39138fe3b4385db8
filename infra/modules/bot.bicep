// The registration at Azure Bot Service, with Teams, and with Slack where its app is named.
@description('Also its handle, in which the Slack app\'s events address ends.')
param name string
param tags object
param displayName string

@description('Where messages are delivered.')
param endpoint string
param appId string

@allowed(['SingleTenant', 'UserAssignedMSI'])
param appType string
param tenantId string

@description('Resource id of the managed identity that the bot is. Empty: it is an app.')
param identityId string

@description('Name of the Application Insights that hears of deliveries.')
param insightsName string

@description('Empty: no Slack channel.')
param slackClientId string

@secure()
param slackClientSecret string

@secure()
param slackSigningSecret string

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource bot 'Microsoft.BotService/botServices@2022-09-15' = {
  name: name
  location: 'global'
  tags: tags
  kind: 'azurebot'
  sku: { name: 'F0' }
  properties: union(
    {
      displayName: displayName
      endpoint: endpoint
      msaAppId: appId
      msaAppType: appType
      msaAppTenantId: tenantId
      disableLocalAuth: true
      developerAppInsightKey: insights.properties.InstrumentationKey
    },
    empty(identityId) ? {} : { msaAppMSIResourceId: identityId }
  )
}

resource teams 'Microsoft.BotService/botServices/channels@2022-09-15' = {
  parent: bot
  name: 'MsTeamsChannel'
  location: 'global'
  properties: {
    channelName: 'MsTeamsChannel'
    properties: { isEnabled: true, acceptedTerms: true }
  }
}

resource slack 'Microsoft.BotService/botServices/channels@2022-09-15' = if (!empty(slackClientId)) {
  parent: bot
  name: 'SlackChannel'
  location: 'global'
  properties: {
    channelName: 'SlackChannel'
    properties: {
      isEnabled: true
      registerBeforeOAuthFlow: true
      clientId: slackClientId
      clientSecret: slackClientSecret
      signingSecret: slackSigningSecret
    }
  }
  dependsOn: [teams]
}

output name string = bot.name
