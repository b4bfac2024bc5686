internal import HTTPTypes
package import NIOCore
package import NIOHTTPTypes

/// Closes a connection whose client takes too long to send a request, however busily it sends parts of one.
///
/// `@unchecked Sendable`: a handler belongs to one channel, and is used on its event loop only.
package final class RequestDeadline: ChannelInboundHandler, RemovableChannelHandler, @unchecked Sendable {
    package typealias InboundIn = HTTPRequestPart
    package typealias InboundOut = HTTPRequestPart

    private let head: TimeAmount
    private let body: TimeAmount
    private var end = NIODeadline.distantFuture
    /// Looks at the end, which most requests put off before it comes: a look is cheaper than to schedule each end anew.
    private var look: Scheduled<Void>?

    /// - Parameters:
    ///   - head: From the beginning of the connection, or the end of the last answer, to the end of the next head.
    ///   - body: From there to the end of the body, and then to the end of the answer.
    package init(head: TimeAmount, body: TimeAmount) {
        self.head = head
        self.body = body
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { begin(head, context) }
    }

    package func channelActive(context: ChannelHandlerContext) {
        begin(head, context)
        context.fireChannelActive()
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head: begin(body, context)
        case .end: begin(body + head, context)
        case .body: break
        }
        context.fireChannelRead(data)
    }

    package func channelInactive(context: ChannelHandlerContext) {
        look?.cancel()
        context.fireChannelInactive()
    }

    private func begin(_ limit: TimeAmount, _ context: ChannelHandlerContext) {
        end = .now() + limit
        if look == nil { scheduleLook(context.channel) }
    }

    /// In time for the end, also when one that is set later comes as soon as any can.
    private func scheduleLook(_ channel: any Channel) {
        look = channel.eventLoop.scheduleTask(deadline: min(end, .now() + min(head, body))) { [weak self] in
            guard let self else { return }
            if end <= .now() { channel.close(promise: nil) } else { scheduleLook(channel) }
        }
    }
}
