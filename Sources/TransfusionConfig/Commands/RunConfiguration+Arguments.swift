public import ArgumentParser

extension RunConfiguration.Precision: ExpressibleByArgument {}
