package deliver

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wneessen/go-mail"

	"gatehouse/internal/identity"
)

// Mailer sends mail over SMTP, one conversation for each message.
type Mailer struct {
	host     string
	options  []mail.Option
	from     *netmail.Address
	implicit *tls.Config // smtps
}

// NewMailer reads smtp://user:password@host:port (port 587; STARTTLS where the server offers it) or smtps:// (port 465, TLS from the
// first byte). With a user, a connection that is not to this machine must be encrypted: whoever stands in the way could strip the
// offer of STARTTLS and read the password. A nil config takes the system's certificates.
func NewMailer(address identity.Secret, from string, config *tls.Config) (*Mailer, error) {
	u, err := url.Parse(address.Reveal())
	if err != nil {
		return nil, errors.New("mail server: not a URL of the form smtp://user:password@host:port") // err would quote the password
	}
	m := &Mailer{host: u.Hostname()}
	if (u.Scheme != "smtp" && u.Scheme != "smtps") || m.host == "" || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("mail server: must be of the form smtp://user:password@host:port or smtps://…")
	}
	if m.from, err = netmail.ParseAddress(from); err != nil {
		return nil, fmt.Errorf("mail sender %q: %w", from, err)
	}
	port := map[string]int{"smtp": 587, "smtps": 465}[u.Scheme]
	if text := u.Port(); text != "" {
		if port, err = strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
			return nil, fmt.Errorf("mail server: port %q", text)
		}
	}
	if config == nil {
		config = &tls.Config{}
	}
	config = config.Clone()
	config.ServerName = cmp.Or(config.ServerName, m.host)
	config.MinVersion = tls.VersionTLS12

	m.options = []mail.Option{
		mail.WithPort(port), mail.WithTimeout(sendTimeout), mail.WithTLSConfig(config), mail.WithHELO(domain(m.from.Address)),
	}
	user, local := u.User.Username(), loopback(m.host)
	policy := mail.TLSOpportunistic
	switch {
	case u.Scheme == "smtps":
		m.implicit, policy = config, mail.NoTLS // the connection is encrypted before the first word
	case user != "" && !local:
		policy = mail.TLSMandatory
	}
	m.options = append(m.options, mail.WithTLSPolicy(policy))
	if user != "" {
		password, _ := u.User.Password()
		ways := []mail.SMTPAuthType{mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthSCRAMSHA1, mail.SMTPAuthPlain, mail.SMTPAuthLogin}
		if local {
			ways = append(ways[:2], mail.SMTPAuthPlainNoEnc, mail.SMTPAuthLoginNoEnc)
		}
		m.options = append(m.options, mail.WithUsername(user), mail.WithPassword(password), mail.WithOpportunisticSMTPAuth(ways...))
	}
	if _, err := mail.NewClient(m.host, m.options...); err != nil {
		return nil, fmt.Errorf("mail server: %w", err)
	}
	return m, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func domain(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// Send holds one SMTP conversation. Message-ID and Date come from the row, so that a message sent twice is the same message.
func (m *Mailer) Send(ctx context.Context, id identity.MessageID, at time.Time, c Content) error {
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	from := m.from.String()
	if c.From != "" {
		from = c.From
	}
	if err := errors.Join(msg.From(from), msg.To(c.Recipient)); err != nil {
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	}
	if c.ReplyTo != "" {
		if err := msg.ReplyTo(c.ReplyTo); err != nil {
			return fmt.Errorf("%w: %w", ErrPermanent, err)
		}
	}
	if strings.Contains(c.Subject, "=?") {
		msg.SetGenHeaderPreformatted(mail.HeaderSubject, encodedWords(c.Subject))
	} else {
		msg.Subject(c.Subject)
	}
	msg.SetMessageIDWithValue(string(id) + "@" + domain(m.from.Address))
	msg.SetDateWithValue(at.UTC())
	// RFC 3834, section 5: no holiday notice answers this.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(mail.TypeTextPlain, c.Text)
	if c.HTML != "" {
		msg.AddAlternativeString(mail.TypeTextHTML, c.HTML)
	}
	client, err := mail.NewClient(m.host, append(m.options[:len(m.options):len(m.options)], mail.WithDialContextFunc(m.dial(ctx)))...)
	if err != nil {
		return err
	}
	err = client.DialAndSendWithContext(ctx, msg)
	if msg.IsDelivered() {
		return nil // taking leave may fail; the message is theirs
	}
	var refused *mail.SendError
	if errors.As(err, &refused) && refused.ErrorCode() >= 500 {
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	}
	return err
}

// encodedWords writes a text that looks encoded (RFC 2047), and that the library would leave as it is: it must be read as it was
// written, and not as what somebody hid in it.
func encodedWords(text string) string {
	const most = 45 // bytes, of which 60 letters are made: a word has at most 75 in all
	var words []string
	for text != "" {
		end := min(most, len(text))
		for end < len(text) && !utf8.RuneStart(text[end]) {
			end--
		}
		words = append(words, "=?UTF-8?b?"+base64.StdEncoding.EncodeToString([]byte(text[:end]))+"?=")
		text = text[end:]
	}
	return strings.Join(words, "\r\n ")
}

// dial ties the whole conversation to ctx; the library does so for its first moments only.
func (m *Mailer) dial(ctx context.Context) mail.DialContextFunc {
	return func(dialing context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(dialing, network, address)
		if err != nil {
			return nil, err
		}
		if m.implicit != nil {
			encrypted := tls.Client(conn, m.implicit)
			if err := encrypted.HandshakeContext(dialing); err != nil {
				return nil, errors.Join(err, conn.Close())
			}
			conn = encrypted
		}
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		return conn, nil
	}
}
