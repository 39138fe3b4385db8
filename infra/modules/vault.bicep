// What must be a secret: the app's own password, if it has one, and the key to POST /api/say.
param name string
param location string
param tags object

@description('Object id of the identity that reads the secrets.')
param readerId string

@secure()
param botAppPassword string

@secure()
param sayApiKey string

// Key Vault Secrets User
var readsSecrets = '4633458b-17de-408a-b874-0445c86b69e6'

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 7
  }
}

resource password 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = if (!empty(botAppPassword)) {
  parent: vault
  name: 'microsoft-app-password'
  properties: { value: botAppPassword }
}

resource key 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = if (!empty(sayApiKey)) {
  parent: vault
  name: 'say-api-key'
  properties: { value: sayApiKey }
}

resource reads 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, readerId, readsSecrets)
  scope: vault
  properties: {
    principalId: readerId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', readsSecrets)
  }
}

output uri string = vault.properties.vaultUri

@description('The secrets that there are; each is the setting of that name in upper case.')
output secretNames array = concat(
  empty(botAppPassword) ? [] : ['microsoft-app-password'],
  empty(sayApiKey) ? [] : ['say-api-key']
)
