// Who the bot is, everywhere: at Foundry, the database, the vault, the registry, and as a rule at Azure Bot Service.
@description('The identity\'s name; the database knows it by that.')
param name string
param location string
param tags object

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: name
  location: location
  tags: tags
}

output id string = identity.id
output name string = identity.name
output clientId string = identity.properties.clientId
output principalId string = identity.properties.principalId
