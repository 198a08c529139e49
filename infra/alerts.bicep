// Alerts by mail, and the budget. Thresholds: docs/how-to/operate.md.
param location string
param tags object
param email string
param monthlyBudget int
param budgetStart string
param serviceBusId string
param databaseId string
param databaseConnections int
param workspaceId string

resource operators 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-operators'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'geolathe'
    emailReceivers: [
      {
        name: 'operators'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

resource deadLetters 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'alert-dead-letters-left'
  location: 'global'
  tags: tags
  properties: {
    description: 'A queue has dead letters that no function has recorded.'
    severity: 1
    enabled: true
    scopes: [serviceBusId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'dead letters'
          metricNamespace: 'Microsoft.ServiceBus/namespaces'
          metricName: 'DeadletteredMessages'
          // Each queue by itself: the smallest number of all queues is nearly always 0.
          dimensions: [
            {
              name: 'EntityName'
              operator: 'Include'
              values: ['*']
            }
          ]
          timeAggregation: 'Minimum'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
    }
    actions: [{ actionGroupId: operators.id }]
  }
}

resource connections 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'alert-connections'
  location: 'global'
  tags: tags
  properties: {
    description: 'More than 80 % of the connections of the database are in use.'
    severity: 2
    enabled: true
    scopes: [databaseId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT5M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'connections'
          metricNamespace: 'Microsoft.DBforPostgreSQL/flexibleServers'
          metricName: 'active_connections'
          timeAggregation: 'Maximum'
          operator: 'GreaterThan'
          threshold: databaseConnections * 80 / 100
        }
      ]
    }
    actions: [{ actionGroupId: operators.id }]
  }
}

// The app reports its state once a minute. No report at all counts as a sweep that does not run.
var queries = [
  {
    name: 'alert-dead-letters'
    description: 'A message was delivered ten times without success and recorded as a dead letter.'
    text: 'AppMetrics | where Name == "geolathe.dead_letters" | summarize grown = max(Max) - min(Min) | where grown > 0'
    window: 'PT10M'
    operator: 'GreaterThan'
    threshold: 0
  }
  {
    name: 'alert-sweep'
    description: 'The sweep has not completed for more than five minutes.'
    text: 'AppMetrics | where Name == "geolathe.sweep.age" and Min < 300'
    window: 'PT5M'
    operator: 'LessThan'
    threshold: 1
  }
  {
    name: 'alert-oldest-task'
    description: 'A task has been due for more than 15 minutes.'
    text: 'AppMetrics | where Name == "geolathe.tasks.oldest_due" and Max > 900'
    window: 'PT5M'
    operator: 'GreaterThan'
    threshold: 0
  }
]

resource logs 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for query in queries: {
    name: query.name
    location: location
    tags: tags
    properties: {
      description: query.description
      severity: 1
      enabled: true
      scopes: [workspaceId]
      evaluationFrequency: 'PT5M'
      windowSize: query.window
      criteria: {
        allOf: [
          {
            query: query.text
            timeAggregation: 'Count'
            operator: query.operator
            threshold: query.threshold
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: { actionGroups: [operators.id] }
    }
  }
]

resource budget 'Microsoft.Consumption/budgets@2024-08-01' = {
  name: 'budget'
  properties: {
    category: 'Cost'
    amount: monthlyBudget
    timeGrain: 'Monthly'
    timePeriod: { startDate: budgetStart }
    notifications: {
      reached80percent: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 80
        thresholdType: 'Actual'
        contactEmails: [email]
      }
      forecast100percent: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 100
        thresholdType: 'Forecasted'
        contactEmails: [email]
      }
    }
  }
}
