// The Foundry project with a model; the agent in it is made by `python -m bot agent push`.
param name string
param location string
param tags object
param modelName string

@description('Empty: the catalogue\'s default.')
param modelVersion string

@description('Thousands of tokens a minute.')
param modelCapacity int

@description('Object id of the bot\'s identity.')
param identityPrincipalId string

@description('Object id of whoever deploys. Empty: nobody gets the role.')
param deployerId string
param deployerType string

// Foundry User, once Azure AI User
var foundryUser = '53ca6127-db72-4e31-b599-04dc5da150b4'

resource account 'Microsoft.CognitiveServices/accounts@2026-07-01' = {
  name: name
  location: location
  tags: tags
  kind: 'AIServices'
  sku: { name: 'S0' }
  identity: { type: 'SystemAssigned' }
  properties: {
    allowProjectManagement: true
    customSubDomainName: name
    disableLocalAuth: true
    publicNetworkAccess: 'Enabled'
  }
}

resource model 'Microsoft.CognitiveServices/accounts/deployments@2026-07-01' = {
  parent: account
  name: modelName
  sku: { name: 'GlobalStandard', capacity: modelCapacity }
  properties: {
    model: union({ format: 'OpenAI', name: modelName }, empty(modelVersion) ? {} : { version: modelVersion })
  }
}

// the account takes one change at a time
resource project 'Microsoft.CognitiveServices/accounts/projects@2026-07-01' = {
  parent: account
  name: 'threadkeeper'
  location: location
  tags: tags
  identity: { type: 'SystemAssigned' }
  properties: { displayName: 'Threadkeeper' }
  dependsOn: [model]
}

resource botUses 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(project.id, identityPrincipalId, foundryUser)
  scope: project
  properties: {
    principalId: identityPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', foundryUser)
  }
}

resource deployerUses 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(deployerId)) {
  name: guid(project.id, deployerId, foundryUser)
  scope: project
  properties: {
    principalId: deployerId
    principalType: deployerType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', foundryUser)
  }
}

output projectEndpoint string = 'https://${account.properties.customSubDomainName}.services.ai.azure.com/api/projects/${project.name}'
output modelDeployment string = model.name
